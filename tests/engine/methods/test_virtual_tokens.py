"""Prompt tuning, P-tuning and prefix tuning: what stands in front of a row, from the first step to the reloaded patch.

The oracle is the model itself: learnt vectors that are those of real tokens, or keys and values that are those of
real tokens, have to do what these tokens do when they stand in front of the row.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from studio.config import parse_config
from studio.config.method import read_method
from studio.engine.control import Control
from studio.engine.data.batching import group_by_length
from studio.engine.methods import METHODS
from studio.engine.training import checkpoint, run
from studio.engine.training.evaluate import evaluate
from studio.engine.training.state import Position
from studio.errors import ConfigError
from studio.runs import create_run
from tests.engine.methods.layouts import LAYOUTS, ids, make
from tests.tiny import Bench, Row, bench, gpt2, llama, micro_batches, rows, save_model, save_rows, tokenizer

COUNT = 5
PROMPT: dict[str, Any] = {"name": "prompt-tuning", "virtual_tokens": COUNT}
P_TUNING: dict[str, Any] = {"name": "p-tuning", "virtual_tokens": COUNT}
LSTM = P_TUNING | {"encoder": "lstm", "hidden_size": 8}
PREFIX: dict[str, Any] = {"name": "prefix-tuning", "virtual_tokens": COUNT}
TABLES = {"prompt-tuning": PROMPT, "p-tuning, mlp": P_TUNING, "p-tuning, lstm": LSTM, "prefix-tuning": PREFIX}


def attach(table: dict[str, Any], model: PreTrainedModel) -> nn.Module:
    config = read_method(table)
    return METHODS.get(config.name).attach(model, config).eval()


def encoder(trained: nn.Module) -> Any:
    return trained.prompt_encoder["default"]  # type: ignore[index]


@torch.no_grad()
def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    mask = torch.ones_like(tokens)
    found: Tensor = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_of_words_do_what_the_words_do(layout: str) -> None:
    words, tokens = ids(1, COUNT, seed=1), ids(2)
    model = make(layout)
    expected = logits(model, torch.cat([words.expand(2, -1), tokens], dim=1))
    trained = attach(PROMPT, model)
    with torch.no_grad():
        encoder(trained).embedding.weight.copy_(model.get_input_embeddings()(words)[0])
    torch.testing.assert_close(logits(trained, tokens), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_prefix_starts_as_real_words_in_front_of_the_row(layout: str) -> None:
    tokens, model = ids(2), make(layout)
    torch.manual_seed(3)
    words = torch.randint(300, (COUNT,))
    torch.manual_seed(3)
    trained = attach(PREFIX, model)
    expected = logits(make(layout), torch.cat([words.expand(2, -1), tokens], dim=1))[:, COUNT:]
    torch.testing.assert_close(logits(trained, tokens), expected, rtol=1e-4, atol=1e-5)


def _plain_loss(tiny: Bench, chosen: list[Row]) -> Tensor:
    """The definition, by peft's and transformers' own loss over labels, row by row without padding."""
    total, count = torch.zeros(()), 0
    for row in chosen:
        labels = torch.tensor([row.labels])
        supervised = int((labels[:, 1:] != -100).sum())
        found = tiny.model(input_ids=torch.tensor([row.input_ids]), labels=labels, use_cache=False)
        total, count = total + found.loss * supervised, count + supervised
    return total / count


def _gradients(tiny: Bench) -> Tensor:
    return torch.cat([p.grad.flatten() for p in tiny.parameters if p.grad is not None])


@pytest.mark.parametrize("knows_logits", [True, False])
@pytest.mark.parametrize("make_base", [llama, gpt2])
@pytest.mark.parametrize("method", TABLES)
def test_loss_and_gradients_are_those_of_the_definition(
    method: str, make_base: Any, knows_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a model does something to its logits that is not known."""
    if not knows_logits:
        monkeypatch.setattr("studio.engine.training.loss._after_head", lambda *arguments: None)
    chosen = rows(8)
    ours, plain = (bench(TABLES[method], base=make_base(), max_grad_norm=0.0) for _ in range(2))
    for tiny in (ours, plain):
        tiny.base.eval()  # GPT-2 has dropout of its own
    attempt = ours.update(chosen, token_budget=64)
    expected = _plain_loss(plain, chosen)
    expected.backward()
    assert attempt.loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(_gradients(ours), _gradients(plain), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", TABLES)
def test_validation_measures_the_same_loss(method: str) -> None:
    class Store(list[Row]):
        lengths = torch.tensor([len(row.input_ids) for row in rows(8)]).numpy()

    tiny = bench(TABLES[method])
    tiny.trainer.token_budget = 64
    found = evaluate(tiny.trainer, Store(rows(8)), lambda *_: None)  # type: ignore[arg-type]
    assert found.loss == pytest.approx(_plain_loss(tiny, rows(8)).item(), rel=1e-6)


def test_virtual_tokens_count_where_rows_are_grouped_into_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def watched(lengths: Any, budget: int) -> list[list[int]]:
        seen.append(list(lengths))
        return group_by_length(lengths, budget)

    class Store(list[Row]):
        lengths = torch.tensor([len(row.input_ids) for row in rows(8)]).numpy()

    monkeypatch.setattr("studio.engine.training.evaluate.group_by_length", watched)
    tiny = bench(PROMPT)
    evaluate(tiny.trainer, Store(rows(8)), lambda *_: None)  # type: ignore[arg-type]
    assert seen == [[len(row.input_ids) + COUNT for row in rows(8)]]


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("method", TABLES)
def test_what_is_saved_is_what_was_trained(method: str, precision: str, tmp_path: Path) -> None:
    tiny = bench(TABLES[method], {"name": precision, "initial_scale": 1024.0, "base_dtype": "auto"})
    start = encoder(tiny.model).embedding.weight.detach().clone()
    for _ in range(3):
        assert not tiny.update(rows(8)).skipped
    assert {p.dtype for p in tiny.parameters} == {torch.float32}
    assert not torch.equal(encoder(tiny.model).embedding.weight, start)
    spec = METHODS.get(str(TABLES[method]["name"]))
    spec.save(tiny.model, tmp_path)
    loaded = spec.load(llama(), tmp_path)
    trained = tiny.model.get_prompt_embedding_to_save("default")  # type: ignore[operator]
    torch.testing.assert_close(encoder(loaded).embedding.weight.detach(), trained, rtol=0, atol=0)
    if precision == "fp32":
        tiny.model.eval()
        torch.testing.assert_close(logits(tiny.model, ids()), logits(loaded, ids()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning, mlp", "p-tuning, lstm"])
def test_the_input_vectors_of_a_loaded_patch_are_what_enters_the_model(method: str, tmp_path: Path) -> None:
    config = read_method(TABLES[method])
    spec = METHODS.get(config.name)
    model = make("gemma")
    spec.save(spec.attach(model, config), tmp_path)
    loaded = spec.load(make("gemma"), tmp_path)
    vectors = spec.input_vectors(loaded)
    assert vectors.shape == (spec.virtual_tokens(config), 32)
    assert vectors.dtype == torch.float32
    base = make("gemma")
    entering = torch.cat([vectors.expand(2, -1, -1), base.get_input_embeddings()(ids())], dim=1)
    with torch.no_grad():
        expected = base(inputs_embeds=entering, use_cache=False).logits
    torch.testing.assert_close(logits(loaded, ids()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["p-tuning, mlp", "p-tuning, lstm"])
def test_a_checkpoint_holds_the_encoder_so_that_training_goes_on_as_if_it_had_never_stopped(
    method: str, tmp_path: Path
) -> None:
    whole, first = bench(TABLES[method]), bench(TABLES[method])
    for tiny in (whole, first):
        tiny.update(rows(8))
    place = tmp_path / "step-000001"
    checkpoint.write(checkpoint.take(first.trainer, Position(1, 1, 1)), place)
    torch.manual_seed(99)
    resumed = bench(TABLES[method])
    for parameter in resumed.parameters:
        parameter.data.normal_()
    checkpoint.put_back(checkpoint.read(place), resumed.trainer, Position())
    for seed in (1, 2):
        assert resumed.update(rows(8, seed=seed)) == whole.update(rows(8, seed=seed))


def test_vocabulary_starts_at_words_and_random_at_their_size() -> None:
    model = make("llama")
    words = model.get_input_embeddings().weight.detach()
    start = encoder(attach(PROMPT, make("llama"))).embedding.weight
    assert all(any(torch.equal(vector, word) for word in words) for vector in start)
    noise = encoder(attach(PROMPT | {"virtual_tokens": 200, "init": "random"}, make("llama"))).embedding.weight.detach()
    assert float(noise.std() / words.std()) == pytest.approx(1.0, rel=0.1)
    assert not any(torch.equal(noise[0], word) for word in words)


@pytest.mark.parametrize("text", ["Sum.", "Add the two numbers and say what they make."])
def test_text_starts_at_its_own_tokens_cut_or_repeated(text: str, tmp_path: Path) -> None:
    from studio.engine.models.load import load_model

    model = load_model(save_model(tmp_path / "model"))
    tokens = tokenizer()(text, add_special_tokens=False)["input_ids"]
    start = encoder(attach(PROMPT | {"virtual_tokens": 10, "init": "text", "init_text": text}, model)).embedding.weight
    expected = model.get_input_embeddings().weight[torch.tensor((tokens * 10)[:10])]
    assert torch.equal(start, expected)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": "prompt-tuning", "virtual_tokens": 0}, "method.virtual_tokens = 0: "),
        ({"name": "p-tuning", "virtual_tokens": -3}, "method.virtual_tokens = -3: "),
        ({"name": "prefix-tuning", "virtual_tokens": 5000}, "method.virtual_tokens = 5000: "),
        ({"name": "p-tuning", "hidden_size": 0}, "method.hidden_size = 0: "),
        ({"name": "p-tuning", "encoder": "gru"}, "method.encoder = 'gru': "),
        ({"name": "prompt-tuning", "init": "zeros"}, "method.init = 'zeros': "),
        ({"name": "prompt-tuning", "init": "text"}, "method.init_text is required with method.init = text; "),
        ({"name": "prompt-tuning", "init": "text", "init_text": "  "}, "method.init_text is required "),
        ({"name": "prefix-tuning", "init": "text"}, "method.init is not a setting; "),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "method": table})
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def _config(folder: Path, method: dict[str, Any], length: int) -> Any:
    return parse_config(
        {
            "model": {"path": str(folder / "model")},
            "data": {"sources": [{"path": str(folder / "rows.jsonl")}], "max_length": length},
            "method": method,
            "precision": {"name": "fp32"},
            "training": {"batch_size": 4, "max_steps": 2, "device": "cpu"},
        }
    )


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "prefix-tuning"])
def test_rows_that_fit_only_without_the_virtual_tokens_are_refused(method: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model")  # 256 positions
    save_rows(tmp_path / "rows.jsonl")  # more than 40 tokens each
    config = _config(tmp_path, {"name": method, "virtual_tokens": 220}, 1024)
    with pytest.raises(
        ConfigError, match=r"data.max_length = 1024: .* 256 positions, .* take 220; set it to 37 or less"
    ):
        run.train(config, create_run(tmp_path / "runs", "a", ""), Control(), lambda event: None)
    shorter = _config(tmp_path, {"name": method, "virtual_tokens": 220}, 37)
    run.train(shorter, create_run(tmp_path / "runs", "b", ""), Control(), lambda event: None)
    none = _config(tmp_path, {"name": method, "virtual_tokens": 256}, 37)
    with pytest.raises(ConfigError, match=r"method.virtual_tokens = 256: the model has 256 positions in all"):
        run.train(none, create_run(tmp_path / "runs", "c", ""), Control(), lambda event: None)


def test_a_prefix_longer_than_what_attention_sees_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.virtual_tokens = 20: attention of this model sees 8 positions only"):
        attach(PREFIX | {"virtual_tokens": 20}, make("gemma2"))


@pytest.mark.parametrize("method", TABLES)
def test_an_overflow_is_skipped_and_leaves_the_weights_as_they_are(method: str) -> None:
    tiny = bench(TABLES[method], {"name": "fp16-mixed", "initial_scale": 1e38})
    before = [p.detach().clone() for p in tiny.parameters]
    attempt = tiny.update(rows(8))
    assert attempt.skipped
    assert math.isfinite(attempt.loss)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.parameters, strict=True))


def test_the_dimension_of_word_vectors_counts_where_the_hidden_states_have_another() -> None:
    """OPT-350m looks up narrow vectors and projects them."""
    model = make("opt", word_embed_proj_dim=16, do_layer_norm_before=False)
    trained = attach(PROMPT, model)
    assert encoder(trained).embedding.weight.shape == (COUNT, 16)
    assert logits(trained, ids()).shape == (2, COUNT + 12, 300)


def test_the_loss_falls_with_every_method_on_a_quantised_base() -> None:
    for table in TABLES.values():
        tiny = bench(table, {"name": "bf16-mixed", "base_dtype": "nf4"})
        losses = [tiny.update(rows(8)).loss for _ in range(4)]
        assert losses[-1] < losses[0]


def test_padding_changes_nothing_behind_virtual_tokens() -> None:
    tokens = ids(2)
    mask = torch.ones_like(tokens)
    mask[1, 7:] = 0
    for table in TABLES.values():
        trained = attach(table, make("llama"))
        shift = METHODS.get(str(table["name"])).virtual_tokens(read_method(table))
        with torch.no_grad():
            padded = trained(input_ids=tokens, attention_mask=mask, use_cache=False).logits[1, : 7 + shift]
        torch.testing.assert_close(padded, logits(trained, tokens[1:, :7])[0], rtol=1e-5, atol=1e-6)


def test_virtual_tokens_reach_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same prompt at other vectors is another loss: gradients alone would not show vectors that are never read."""
    tiny = bench(PROMPT)
    (batch,) = micro_batches(rows(8))
    with torch.no_grad():
        before = float(tiny.loss(batch))
        encoder(tiny.model).embedding.weight.mul_(10)
        assert abs(float(tiny.loss(batch)) - before) > 1e-3
