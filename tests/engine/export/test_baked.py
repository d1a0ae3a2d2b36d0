"""Baked: learnt vectors as tokens of a plain model, held against peft, which keeps them apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from studio.engine.export import carry, run
from studio.engine.export.bake import MARGIN, widest_direction
from studio.engine.export.bake import _lowering as lowering
from studio.engine.export.bake import _Seen as Seen
from studio.engine.export.certificate import read_certificate
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from studio.errors import ExportError
from studio.runs import RunFolder
from tests.engine.methods.layouts import make

MakeRun = Callable[..., RunFolder]
VECTORS = 5
PROMPT_TUNING = {"name": "prompt-tuning", "virtual_tokens": VECTORS}
P_TUNING = {"name": "p-tuning", "virtual_tokens": VECTORS}
ASKED = [{"role": "user", "content": "What is 3 plus 4?"}]
TEXT = "What is 3 plus 4? It is"


def plain(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def live(base: Path, run_folder: RunFolder) -> Any:
    return PeftModel.from_pretrained(plain(base, dtype=torch.float32), str(run_folder.adapter)).eval()


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


def check(result: Any, name: str) -> Any:
    return next(check for check in result.checks if check.name == name)


@torch.no_grad()
def logits(model: Any, ids: Any) -> torch.Tensor:
    found: torch.Tensor = model.float()(input_ids=torch.tensor([ids])).logits[0]
    return found


def answer(model: Any, ids: Any) -> list[int]:
    config = GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=0)
    rows = torch.tensor([ids])
    output = model.generate(input_ids=rows, attention_mask=torch.ones_like(rows), generation_config=config)
    return list(output[0, len(ids) :].tolist())


@pytest.mark.parametrize("base", ["llama-leaning", "gpt2"])
@pytest.mark.parametrize("method", [PROMPT_TUNING, P_TUNING], ids=["prompt-tuning", "p-tuning"])
def test_the_chat_template_of_a_plain_model_brings_the_learnt_prompt_with_it(
    make_run: MakeRun, bases: dict[str, Path], base: str, method: dict[str, Any]
) -> None:
    trained = make_run(base, method=method)

    result = export_run(trained, "baked", "fp32")

    assert failed(result) == {}
    tokenizer = AutoTokenizer.from_pretrained(result.path)
    ids = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=False)
    asked = AutoTokenizer.from_pretrained(bases[base]).apply_chat_template(
        ASKED, add_generation_prompt=True, return_dict=False
    )
    assert ids[VECTORS:] == asked
    reference, baked = live(bases[base], trained), plain(result.path)
    expected, vocabulary = logits(reference, asked), baked.config.vocab_size - VECTORS
    assert (logits(baked, ids)[:, :vocabulary] - expected).abs().max() < 1e-3
    assert (logits(plain(bases[base]), asked) - expected[VECTORS:]).abs().max() > 0.1
    assert answer(baked, ids) == answer(reference, asked)


def test_the_tokenizer_of_a_base_model_puts_the_learnt_prompt_in_front_of_every_text(
    make_run: MakeRun, bases: dict[str, Path]
) -> None:
    trained = make_run("llama-leaning", kind="base", method=PROMPT_TUNING)

    result = export_run(trained, "baked", "fp32")

    assert failed(result) == {}
    before, tokenizer = (AutoTokenizer.from_pretrained(folder) for folder in (bases["llama-leaning"], result.path))
    ids = tokenizer(TEXT)["input_ids"]
    assert ids[VECTORS:] == before(TEXT)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT
    expected = logits(live(bases["llama-leaning"], trained), before(TEXT)["input_ids"])
    assert (logits(plain(result.path), ids)[:, : len(before)] - expected).abs().max() < 1e-3


def test_it_runs_where_neither_studio_nor_peft_can_be_imported(make_run: MakeRun, tmp_path: Path) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    code = (
        "import sys; sys.modules['studio'] = sys.modules['peft'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))\n"
        "asked = tokenizer.apply_chat_template([{'role': 'user', 'content': 'Hi'}], add_generation_prompt=True,"
        " return_tensors='pt', return_dict=True)\n"
        "print(model.generate(**asked, max_new_tokens=4, pad_token_id=0).shape[1] - asked['input_ids'].shape[1])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(result.path)], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert 1 <= int(ran.stdout) <= 4


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_an_honest_export_in_sixteen_bits_passes(make_run: MakeRun, dtype: str, stored: torch.dtype) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", dtype)

    assert failed(result) == {}
    assert plain(result.path, dtype="auto").dtype == stored
    assert 0 < check(result, "delta_lost_in_dtype").value < 0.01


def test_words_keep_their_vectors_and_the_output_is_untied(make_run: MakeRun, bases: dict[str, Path]) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    before, after = plain(bases["llama-leaning"]), plain(result.path)
    known = before.config.vocab_size
    assert after.config.vocab_size == known + VECTORS
    assert after.config.tie_word_embeddings is False
    assert torch.equal(after.get_input_embeddings().weight[:known], before.get_input_embeddings().weight)
    assert torch.equal(after.get_output_embeddings().weight[:known], before.get_input_embeddings().weight)


def test_virtual_tokens_are_never_said(make_run: MakeRun) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    found = check(result, "virtual_tokens_never_generated")
    assert found.value <= found.limit == 1e-6
    model, tokenizer = plain(result.path), AutoTokenizer.from_pretrained(result.path)
    virtual = list(range(model.config.vocab_size - VECTORS, model.config.vocab_size))
    random = torch.randint(0, virtual[0], (200,), generator=torch.Generator().manual_seed(7)).tolist()
    assert logits(model, random).softmax(-1)[:, virtual].max() < 1e-6
    config = json.loads((result.path / "generation_config.json").read_text())
    assert config["suppress_tokens"] == virtual
    assert tokenizer.convert_ids_to_tokens(virtual)[0] == "<|virtual-1|>"


def on_all_sides(layout: str, bases: dict[str, Path], folder: Path) -> Path:
    """The folder of a tiny model whose hidden states span all directions."""
    tokenizer = AutoTokenizer.from_pretrained(bases["llama-tied"])
    make(layout, vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layout", ["llama", "gemma2", "phi3"])
def test_where_hidden_states_lie_on_all_sides_nothing_is_lowered_and_the_certificate_says_what_to_do(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    """No row of an output can score low for all of them; one that does for those that were seen may be certain for
    others."""
    base = on_all_sides(layout, bases, tmp_path / "base")
    result = export_run(make_run(base, kind="base", method=PROMPT_TUNING), "baked", "fp32")

    assert list(failed(result)) == ["virtual_tokens_never_generated"]
    assert check(result, "virtual_tokens_never_generated").value < VECTORS / 256, "the mean's score is the least of it"
    meaning = failed(result)["virtual_tokens_never_generated"]
    assert "may say virtual tokens" in meaning
    assert "export the adapter instead" in meaning
    assert "never said" not in meaning


def seen(states: torch.Tensor) -> Seen:
    """States of twelve rows, in a vocabulary of e⁵ tokens that are all alike."""
    return Seen(states, torch.full((len(states),), 5.0), torch.arange(len(states)) % 12, 1.0)


def test_a_direction_that_only_the_states_that_were_seen_have_in_common_lowers_nothing() -> None:
    """Few points in a space of many dimensions always lie on one side of some plane."""
    torch.manual_seed(0)
    few = torch.randn(24, 32)
    assert (few @ widest_direction(few)).min() > 0
    assert not lowering(seen(few)).any()


def test_a_direction_that_all_states_have_in_common_lowers_by_the_margin() -> None:
    torch.manual_seed(0)
    states = torch.randn(240, 32)
    states[:, 0] = 4 + states[:, 0].abs()
    found = lowering(seen(states))
    assert (states @ found).min() >= MARGIN - 5.0 - 1e-3
    assert (states @ found).mean() < 10 * MARGIN


def test_the_widest_direction_reaches_every_point_at_least_as_far_as_their_mean_does() -> None:
    torch.manual_seed(0)
    points = torch.randn(200, 8)
    points[:, 0] = 0.3 + points[:, 0].abs()  # all on one side
    points[:150, 1] += 4.0  # and most of them in a corner, to which they draw the mean
    points = torch.nn.functional.normalize(points, dim=-1)

    widest = widest_direction(points)

    mean = torch.nn.functional.normalize(points.mean(0), dim=0)
    assert (points @ widest).min() > max(0.0, float((points @ mean).min()))
    tried = torch.nn.functional.normalize(widest + 0.05 * torch.randn(500, 8), dim=-1)
    assert (points @ tried.T).amin(0).max() <= (points @ widest).min() + 5e-3


@pytest.fixture
def padded(bases: dict[str, Path], tmp_path: Path) -> Path:
    """The folder of a base with rows that its tokenizer does not use, fewer than the vectors."""
    folder = tmp_path / "padded"
    model = plain(bases["llama-leaning"])
    model.resize_token_embeddings(model.config.vocab_size + 3, mean_resizing=True)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(bases["llama-leaning"]).save_pretrained(folder)
    return folder


def test_unused_rows_of_the_embedding_are_taken_first(make_run: MakeRun, padded: Path) -> None:
    result = export_run(make_run(padded, method=PROMPT_TUNING), "baked", "fp32")

    assert failed(result) == {}
    used = len(AutoTokenizer.from_pretrained(padded))
    assert plain(result.path).config.vocab_size == used + VECTORS


@pytest.mark.parametrize(
    ("opening", "written"),
    [
        ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, []),
        (
            {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
            },
            [1],
        ),
    ],
    ids=["ByteLevel", "BOS"],
)
def test_what_a_tokenizer_puts_first_stays_behind_the_learnt_prompt(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, opening: dict[str, Any], written: list[int]
) -> None:
    base = with_post_processor(bases["llama-leaning"], tmp_path / "base", opening)
    trained = make_run(base, kind="base", method=PROMPT_TUNING)

    result = export_run(trained, "baked", "fp32")

    assert failed(result) == {}
    tokenizer = AutoTokenizer.from_pretrained(result.path)
    virtual = tokenizer.convert_tokens_to_ids([f"<|virtual-{number}|>" for number in range(1, VECTORS + 1)])
    assert tokenizer("Hello")["input_ids"][: VECTORS + len(written)] == [*virtual, *written]


def with_post_processor(base: Path, folder: Path, processor: dict[str, Any]) -> Path:
    shutil.copytree(base, folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(state | {"post_processor": processor}), encoding="utf-8")
    return folder


def test_the_export_verifies_later_and_away_from_its_run(make_run: MakeRun, tmp_path: Path) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    assert failed(verify_export(result.path)) == {}
    assert verify_export(result.path.rename(tmp_path / "moved")).passed


def test_card_and_certificate_tell_of_the_virtual_tokens(make_run: MakeRun) -> None:
    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    card = (result.path / "README.md").read_text(encoding="utf-8")
    assert f"{VECTORS} tokens of the vocabulary" in card
    assert "# llama-leaning, fine-tuned" in card
    assert read_certificate(result.path).target == "baked"
    assert result.path.name == "baked-fp32"
    assert not list(result.path.glob("adapter*"))


# What goes wrong while writing is caught, by the check that names it.


def flip_bytes(folder: Path) -> None:
    shard = folder / "model.safetensors"
    content = bytearray(shard.read_bytes())
    content[-5] ^= 0x01
    shard.write_bytes(content)


def drop_a_token(folder: Path) -> None:
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    state["added_tokens"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")


def drop_the_prefix_from_the_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|virtual-2|>", ""))


def swap_vectors(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    embedding[-2:] = embedding[-2:].flip(0)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def let_them_be_said(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][-1] *= -1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def allow_them(folder: Path) -> None:
    config = json.loads((folder / "generation_config.json").read_text())
    del config["suppress_tokens"]
    (folder / "generation_config.json").write_text(json.dumps(config))


DAMAGES = [
    (flip_bytes, "weights_as_written"),
    (drop_a_token, "tokenizer_carried"),
    (drop_the_prefix_from_the_template, "template_carried"),
    (swap_vectors, "max_logit_difference"),
    (let_them_be_said, "virtual_tokens_never_generated"),
    (allow_them, "generation_config_carried"),
]


@pytest.mark.parametrize(("damage", "name"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_caught_by_the_check_that_names_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], name: str
) -> None:
    def write_and_damage(*arguments: Any) -> None:
        carry.carry_over(*arguments)
        damage(arguments[-1])

    monkeypatch.setattr(run, "carry_over", write_and_damage)

    result = export_run(make_run("llama-leaning", method=PROMPT_TUNING), "baked", "fp32")

    assert not result.passed
    assert name in failed(result)


def test_a_base_tokenizer_that_forgets_to_open_a_text_is_caught(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_damage(*arguments: Any) -> None:
        carry.carry_over(*arguments)
        path = arguments[-1] / "tokenizer.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(state | {"post_processor": None}), encoding="utf-8")

    monkeypatch.setattr(run, "carry_over", write_and_damage)

    result = export_run(make_run("llama-leaning", kind="base", method=PROMPT_TUNING), "baked", "fp32")

    assert list(failed(result)) == ["tokenizer_carried", "tokenizer_files"]


# What cannot be right is refused, before anything is written.


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ({}, "LoRA changes weights"),
        ({"name": "full"}, "changes weights"),
        ({"name": "prefix-tuning", "virtual_tokens": 4}, "acts inside the layers"),
    ],
    ids=["lora", "full", "prefix-tuning"],
)
def test_methods_without_input_vectors_are_refused(make_run: MakeRun, method: dict[str, Any], reason: str) -> None:
    trained = make_run(method=method)

    with pytest.raises(ExportError, match=reason):
        export_run(trained, "baked")
    assert list(trained.exports.glob("*")) == []


def test_a_base_tokenizer_with_an_unknown_last_step_is_refused(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    processor = {"type": "BertProcessing", "sep": ["<|im_end|>", 2], "cls": ["<|im_start|>", 1]}
    base = with_post_processor(bases["llama-leaning"], tmp_path / "base", processor)
    trained = make_run(base, kind="base", method=PROMPT_TUNING)

    with pytest.raises(ExportError, match="BertProcessing"):
        export_run(trained, "baked")
    assert list(trained.exports.glob("*")) == []


def test_a_tokenizer_that_treats_the_beginning_of_a_text_otherwise_is_refused(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    """As SentencePiece's does: it puts a space in front of a text, but not behind a special token."""
    base = shutil.copytree(bases["llama-leaning"], tmp_path / "base")
    state = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [space, state["pre_tokenizer"]]}
    (base / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    trained = make_run(base, method=PROMPT_TUNING)

    with pytest.raises(ExportError, match="splits text otherwise"):
        export_run(trained, "baked")
    assert list(trained.exports.glob("*")) == []


@pytest.fixture
def gemma(bases: dict[str, Path], tmp_path: Path) -> Path:
    """The folder of a tiny Gemma 3, whose embedding multiplies what it looks up."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(bases["llama-leaning"])
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.2,
    )
    model = Gemma3ForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight += torch.ones(32)
    model.save_pretrained(tmp_path / "gemma")
    tokenizer.save_pretrained(tmp_path / "gemma")
    return tmp_path / "gemma"


def test_an_embedding_that_multiplies_returns_the_learnt_vectors(make_run: MakeRun, gemma: Path) -> None:
    trained = make_run(gemma, method=PROMPT_TUNING)

    result = export_run(trained, "baked", "fp32")

    assert failed(result) == {}
    vectors = live(gemma, trained).prompt_encoder["default"].embedding.weight
    embedding = plain(result.path).get_input_embeddings()
    places = torch.arange(embedding.num_embeddings - VECTORS, embedding.num_embeddings)
    assert torch.allclose(embedding(places), vectors, atol=1e-5)
