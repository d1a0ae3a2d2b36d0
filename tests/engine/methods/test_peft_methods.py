"""LoRA with PiSSA, LoRA on attention alone, and IA3: where they start, what they save, and what merging makes of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from studio.config import parse_config
from studio.config.method import read_method
from studio.engine.control import Control
from studio.engine.methods import METHODS
from studio.engine.methods._targets import attention_only, linear_suggestions, scaled_by_default
from studio.engine.models.structure import linear_layers
from studio.engine.training import run
from studio.errors import ConfigError
from studio.runs import create_run
from tests.engine.methods.layouts import LAYOUTS, ids, make, shapes_of
from tests.tiny import Bench, bench, gpt2, llama, rows, save_model, save_rows

IA3: dict[str, Any] = {"name": "ia3"}
LORA: dict[str, Any] = {"name": "lora", "rank": 4, "dropout": 0.0}
ATTENTION = LORA | {"target_modules": ["attention-only"]}
PISSA: dict[str, Any] = {"name": "lora", "rank": 4, "init": "pissa"}
PISSAS = {
    "pissa": PISSA,
    "pissa, rslora": PISSA | {"rslora": True, "alpha": 8},
    "pissa, dora": PISSA | {"dora": True},
    "pissa, attention": PISSA | {"target_modules": ["attention-only"]},
}
TABLES = {"ia3": IA3, "lora": LORA, "lora, attention": ATTENTION, **PISSAS}


def attach(table: dict[str, Any], model: PreTrainedModel) -> nn.Module:
    config = read_method(table)
    torch.manual_seed(1)
    return METHODS.get(config.name).attach(model, config).eval()


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(input_ids=ids(), use_cache=False).logits
    return found


def train(model: nn.Module, rate: float = 1e-2) -> None:
    """Three steps of plain AdamW on the next token."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate)
    for _ in range(3):
        found = model(input_ids=ids(), use_cache=False).logits
        F.cross_entropy(found[:, :-1].flatten(0, 1), ids()[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", ["ia3", "lora", "lora, attention"])
def test_step_0_is_the_base_bit_for_bit(method: str, layout: str) -> None:
    assert torch.equal(logits(attach(TABLES[method], make(layout))), logits(make(layout)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", PISSAS)
def test_pissa_starts_at_the_base_with_the_weights_split_in_two(method: str, layout: str) -> None:
    trained = attach(TABLES[method], make(layout))
    torch.testing.assert_close(logits(trained), logits(make(layout)), rtol=1e-5, atol=1e-5)
    assert any(bool((p != 0).any()) for name, p in trained.named_parameters() if "lora_B" in name)


def test_pissa_starts_at_the_largest_singular_values() -> None:
    """Against torch's exact decomposition: no matrix of rank 4 leaves less of W behind. Random weights are the hardest
    case for a randomised decomposition, because their singular values lie so close together.
    """
    weight = dict(make("llama").named_parameters())["model.layers.0.mlp.up_proj.weight"].detach()
    layer: Any = attach(PISSA, make("llama")).get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    rest = torch.linalg.svdvals(weight)[4:]
    assert float(layer.base_layer.weight.norm()) == pytest.approx(float(rest.norm()), rel=5e-3)
    assert float(torch.linalg.matrix_norm(layer.base_layer.weight, 2)) == pytest.approx(float(rest[0]), rel=5e-2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", TABLES)
def test_the_saved_adapter_on_the_base_as_it_was_is_the_trained_model_and_so_is_the_merged_one(
    method: str, layout: str, tmp_path: Path
) -> None:
    trained = attach(TABLES[method], make(layout))
    before = logits(trained)
    train(trained)
    expected = logits(trained)
    assert float((expected - before).abs().max()) > 1e-2
    spec = METHODS.get(str(TABLES[method]["name"]))
    spec.save(trained, tmp_path)
    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(make(layout), str(tmp_path)).eval()), expected, rtol=1e-4, atol=1e-4
    )
    loaded = spec.load(make(layout), tmp_path)
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-4, atol=1e-4)
    merged = spec.merge(loaded)
    assert type(merged) is type(make(layout))
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make_base", [llama, gpt2])
@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("method", ["ia3", "lora, attention", "pissa", "pissa, dora"])
def test_what_training_in_a_precision_saves_is_what_it_had(
    method: str, precision: str, make_base: Any, tmp_path: Path
) -> None:
    tiny = bench(TABLES[method], {"name": precision, "initial_scale": 1024.0}, base=make_base())
    for _ in range(4):
        assert not tiny.update(rows(8), rate=0.3 if method == "ia3" else 3e-2).skipped
    assert {p.dtype for p in tiny.parameters} == {torch.float32}
    spec = METHODS.get(str(TABLES[method]["name"]))
    spec.save(tiny.model, tmp_path)
    tiny.model.eval()
    with torch.no_grad(), tiny.trainer.autocast():
        found = tiny.model(input_ids=ids(), use_cache=False).logits.float()
    expected, base = logits(spec.load(make_base(), tmp_path)), logits(make_base())
    lost = (found - expected).abs().max() / (expected - base).abs().max()
    assert float(lost) < (1e-4 if precision == "fp32" else 0.05)


def test_pissa_in_a_pure_precision_is_converted_by_what_was_taken_from_the_base(tmp_path: Path) -> None:
    """A and B are rounded to 16 bits when training starts, but what was taken from W was not."""
    tiny = bench(PISSA, {"name": "bf16-pure"})
    for _ in range(4):
        tiny.update(rows(8), rate=3e-2)
    METHODS.get("lora").save(tiny.model, tmp_path)
    exact = tiny.model.float().eval()
    base = llama()
    for name, p in base.named_parameters():
        if p.dim() == 1 or "embed" in name:  # those were rounded for good
            p.data = p.data.bfloat16().float()
    loaded = METHODS.get("lora").load(base, tmp_path)
    difference = (logits(exact) - logits(loaded)).abs().max() / (logits(loaded) - logits(llama())).abs().max()
    assert float(difference) < 0.02


def test_doubling_alpha_doubles_what_is_merged(tmp_path: Path) -> None:
    trained = attach(LORA | {"alpha": 8.0}, make("llama"))
    train(trained)
    METHODS.get("lora").save(trained, tmp_path)
    config = tmp_path / "adapter_config.json"
    deltas = []
    for alpha in (8.0, 16.0):
        config.write_text(config.read_text().replace('"lora_alpha": 8.0', f'"lora_alpha": {alpha}'))
        loaded = METHODS.get("lora").load(make("llama"), tmp_path)
        merged = dict(METHODS.get("lora").merge(loaded).named_parameters())
        base = dict(make("llama").named_parameters())
        deltas.append(torch.cat([(merged[name] - base[name]).detach().flatten().double() for name in base]))
    assert float(deltas[0].abs().max()) > 1e-3
    torch.testing.assert_close(deltas[1], 2 * deltas[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
@pytest.mark.parametrize("make_base", [llama, gpt2])
def test_ia3_learns_on_a_quantised_base_and_opens_on_the_plain_one(
    base_dtype: str, make_base: Any, tmp_path: Path
) -> None:
    tiny = bench(IA3, {"name": "bf16-mixed", "base_dtype": base_dtype}, base=make_base())
    tiny.base.eval()
    losses = [tiny.update(rows(8), rate=0.1).loss for _ in range(6)]
    assert losses[-1] < losses[0] - 0.005
    METHODS.get("ia3").save(tiny.model, tmp_path)
    tiny.model.eval()
    loaded = METHODS.get("ia3").load(make_base(), tmp_path)
    learnt = {name: p for name, p in loaded.named_parameters() if "ia3_l" in name}
    trained = {name: p for name, p in tiny.model.named_parameters() if p.requires_grad}
    assert {name: p.tolist() for name, p in learnt.items()} == {name: p.tolist() for name, p in trained.items()}


@pytest.mark.parametrize(
    ("layout", "outputs", "inputs"),
    [
        ("llama", {"self_attn.k_proj", "self_attn.v_proj"}, {"mlp.down_proj"}),
        ("qwen3", {"self_attn.k_proj", "self_attn.v_proj"}, {"mlp.down_proj"}),
        ("gemma3", {"self_attn.k_proj", "self_attn.v_proj"}, {"mlp.down_proj"}),
        ("phi", {"self_attn.k_proj", "self_attn.v_proj"}, {"mlp.fc2"}),
        ("phi3", {"self_attn.qkv_proj"}, {"mlp.down_proj"}),
        ("gpt2", {"attn.c_attn"}, {"mlp.c_proj"}),
        ("gpt-neox", {"attention.query_key_value"}, {"mlp.dense_4h_to_h"}),
        ("opt", {"self_attn.k_proj", "self_attn.v_proj"}, {"fc2"}),
    ],
)
def test_ia3_finds_keys_values_and_the_middle_of_the_mlp(layout: str, outputs: set[str], inputs: set[str]) -> None:
    scaled = scaled_by_default(linear_layers(make(layout)))
    assert (set(scaled.outputs), set(scaled.inputs)) == (outputs, inputs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_alone_is_every_linear_layer_of_attention(layout: str) -> None:
    model = make(layout)
    names = attention_only(linear_layers(model))
    inside = {
        f"{name}.{child}"
        for name, module in model.named_modules()
        if "attention" in type(module).__name__.lower()
        for child, _ in module.named_modules()
    }
    linear = {layer.name for layer in linear_layers(model)}
    assert {layer for layer in linear if any(layer.endswith(f".{name}") for name in names)} == inside & linear


def test_a_layer_that_is_named_is_scaled_at_the_side_where_the_paper_scales_it() -> None:
    trained = attach(IA3 | {"target_modules": ["c_proj"]}, make("gpt2"))
    sides = {
        name: module.is_feedforward
        for name, module in trained.named_modules()
        if type(module).__module__.startswith("peft.tuners.ia3.layer")
    }
    assert sides == {
        f"base_model.model.transformer.h.{number}.{part}.c_proj": part == "mlp"
        for number in (0, 1)
        for part in ("attn", "mlp")
    }


NAMED = [IA3, LORA]
ITS_OWN = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"


@pytest.mark.parametrize("table", NAMED, ids=lambda table: table["name"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("up", f"up is not the name of a linear layer of this model; it has {ITS_OWN}."),
        ("proj", "proj is not the name of a linear layer of this model; did you mean "),
        ("q_prj", "q_prj is not the name of a linear layer of this model; did you mean q_proj or v_proj?"),
        ("q_proj, v_porj", "v_porj is not the name of a linear layer of this model; did you mean v_proj or "),
        (
            "2.self_attn.q_proj",
            "2.self_attn.q_proj is not the name of a linear layer of this model; did you mean self_",
        ),
        ("input_layernorm", f"input_layernorm is not the name of a linear layer of this model; it has {ITS_OWN}."),
        (
            "self_attn",
            "self_attn is not the name of a linear layer of this model; did you mean self_attn.[qkvo]_proj or self_attn.",
        ),
        ("lm_head", f"lm_head is the output or an embedding, .* such as {ITS_OWN}, or take method.name = full."),
        ("q_proj, lm_head", "lm_head is the output or an embedding, "),
        ("embed_tokens", "embed_tokens is the output or an embedding, "),
        ("model.embed_tokens", "model.embed_tokens is the output or an embedding, "),
    ],
)
@pytest.mark.parametrize("layout", ["llama", "mistral"])
def test_a_name_of_no_linear_layer_is_refused_before_and_when_it_is_attached(
    layout: str, names: str, words: str, table: dict[str, Any], tmp_path: Path
) -> None:
    config = read_method(table | {"target_modules": names})
    method = METHODS.get(config.name)
    with pytest.raises(ConfigError, match=f"^method.target_modules: {words}"):
        method.attach(make(layout), config)
    with pytest.raises(ConfigError, match=f"^method.target_modules: {words}"):
        method.trainable_parameters(shapes_of(layout, tmp_path), config)


@pytest.mark.parametrize(
    ("layout", "name"),
    [("gpt2", "wte"), ("gpt2", "wpe"), ("gpt2", "lm_head"), ("gpt-neox", "embed_out"), ("gpt-neox", "embed_in"),
     ("opt", "embed_positions")],
)  # fmt: skip
def test_output_and_embeddings_are_known_by_their_names_in_every_layout(layout: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"method.target_modules: {name} is the output or an embedding"):
        attach(LORA | {"target_modules": [name]}, make(layout))


def test_a_word_for_layers_that_is_misspelt_is_recognised() -> None:
    with pytest.raises(ConfigError, match=r"all_linear is not the name of a linear .* did you mean all-linear\?"):
        attach(LORA | {"target_modules": ["all_linear"]}, make("llama"))


def adapted(trained: nn.Module) -> set[str]:
    """The names of the layers beside which something is learnt."""
    learnt = (name.removeprefix("base_model.model.") for name, p in trained.named_parameters() if p.requires_grad)
    return {re.split(r"\.(?:lora_|ia3_)", name)[0] for name in learnt}


ATTN, MLP = "model.layers.{}.self_attn.", "model.layers.{}.mlp."


@pytest.mark.parametrize("table", NAMED, ids=lambda table: table["name"])
@pytest.mark.parametrize(
    ("names", "layers"),
    [
        ("q_proj", [ATTN.format(0) + "q_proj", ATTN.format(1) + "q_proj"]),
        ("self_attn.q_proj", [ATTN.format(0) + "q_proj", ATTN.format(1) + "q_proj"]),
        ("0.self_attn.q_proj", [ATTN.format(0) + "q_proj"]),
        ("layers.1.self_attn.q_proj", [ATTN.format(1) + "q_proj"]),
        ("model.layers.1.mlp.down_proj", [MLP.format(1) + "down_proj"]),
        (
            "0.mlp.down_proj, v_proj",
            [MLP.format(0) + "down_proj", ATTN.format(0) + "v_proj", ATTN.format(1) + "v_proj"],
        ),
    ],
)
def test_a_name_in_several_parts_is_the_layer_that_it_says(
    names: str, layers: list[str], table: dict[str, Any], tmp_path: Path
) -> None:
    config = read_method(table | {"target_modules": names})
    method = METHODS.get(config.name)
    trained: Any = method.attach(make("llama"), config)
    assert adapted(trained) == set(layers)
    count = trained.get_nb_trainable_parameters()[0]
    shapes = shapes_of("llama", tmp_path / "model")
    assert method.trainable_parameters(shapes, config) == count
    (tmp_path / "adapter").mkdir()
    method.save(trained, tmp_path / "adapter")
    loaded = method.load(make("llama"), tmp_path / "adapter")
    assert {name for name, _ in loaded.named_parameters()} == {name for name, _ in trained.named_parameters()}


def test_a_name_in_full_is_known_to_files_that_leave_out_its_first_part(tmp_path: Path) -> None:
    shapes = shapes_of("gpt2", tmp_path)
    shortened = {name.removeprefix("transformer."): shape for name, shape in shapes.tensors.items()}
    config = read_method(LORA | {"target_modules": "transformer.h.0.attn.c_attn"})
    count = METHODS.get("lora").trainable_parameters(dataclasses.replace(shapes, tensors=shortened), config)
    assert count == METHODS.get("lora").trainable_parameters(shapes, config) > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layer_that_is_suggested_can_be_taken(layout: str, tmp_path: Path) -> None:
    shapes, lora = shapes_of(layout, tmp_path), METHODS.get("lora")
    offered = linear_suggestions(shapes.linear_layers)
    assert [found.value for found in offered] == [
        found.value for found in linear_suggestions(linear_layers(make(layout)))
    ]
    counts = [
        lora.trainable_parameters(shapes, read_method(LORA | {"target_modules": [found.value]})) for found in offered
    ]
    assert sum(counts) == lora.trainable_parameters(shapes, read_method(LORA))
    for word in ("attention-only", "all-linear"):
        chosen = [found.value for found in offered if word in found.within]
        named = lora.trainable_parameters(shapes, read_method(LORA | {"target_modules": chosen}))
        assert named == lora.trainable_parameters(shapes, read_method(LORA | {"target_modules": [word]}))
    automatic = [found.value for found in offered if "auto" in found.within]
    ia3 = METHODS.get("ia3")
    named = ia3.trainable_parameters(shapes, read_method(IA3 | {"target_modules": automatic}))
    assert named == ia3.trainable_parameters(shapes, read_method(IA3))


def test_a_suggestion_carries_the_sizes_of_its_layers(tmp_path: Path) -> None:
    details = {found.value: found.detail for found in linear_suggestions(shapes_of("gpt2", tmp_path).linear_layers)}
    assert details == {
        "attn.c_attn": "32 → 96",
        "attn.c_proj": "32 → 32",
        "mlp.c_fc": "32 → 48",
        "mlp.c_proj": "48 → 32",
    }


class _Anonymous(nn.Module):
    """A model whose layers' names tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.config = transformers.LlamaConfig()
        self.blocks = nn.ModuleList([nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 16)})])

    def get_output_embeddings(self) -> None: ...


@pytest.mark.parametrize(("table", "value"), [(IA3, "auto"), (ATTENTION, "attention-only")])
def test_a_model_whose_names_tell_nothing_is_refused(table: dict[str, Any], value: str) -> None:
    with pytest.raises(ConfigError, match=rf"method.target_modules = {value}: no .* name the layers"):
        attach(table, _Anonymous())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"method": PISSA | {"dropout": 0.1}}, "method.init = 'pissa': dropout would blank parts of the base itself; "),
        (
            {"method": PISSA, "precision": {"base_dtype": "nf4"}},
            "method.init = pissa: what it leaves of a base in nf4 ",
        ),
        (
            {"method": PISSA, "precision": {"base_dtype": "int8"}},
            "method.init = pissa: what it leaves of a base in int8",
        ),
        ({"method": IA3 | {"target_modules": ""}}, "method.target_modules = "),
        (
            {"method": LORA | {"target_modules": "all-linear, q_proj"}},
            "method.target_modules = 'all-linear, q_proj': all-linear stands alone; take it, or the names of layers ",
        ),
        ({"method": IA3 | {"target_modules": ["v_proj", "auto"]}}, "method.target_modules = ['v_proj', 'auto']: auto "),
        ({"method": IA3 | {"rank": 4}}, "method.rank is not a setting; "),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_sentence(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}} | tables)
    assert str(refused.value).startswith(words)


def test_pissa_has_no_dropout_unless_it_is_asked_for() -> None:
    assert read_method(PISSA).dropout == 0.0
    assert read_method(PISSA | {"init": "kaiming"}).dropout == 0.05


def test_a_rank_that_no_layer_can_have_is_refused(tmp_path: Path) -> None:
    shapes, lora = shapes_of("llama", tmp_path), METHODS.get("lora")
    most = max(min(layer.inputs, layer.outputs) for layer in shapes.linear_layers if layer.adaptable)
    assert lora.trainable_parameters(shapes, read_method({"name": "lora", "rank": most}))
    too_large = read_method({"name": "lora", "rank": most + 1})
    with pytest.raises(ConfigError, match=rf"method.rank = {most + 1}: no adapted layer can change by more than rank"):
        lora.trainable_parameters(shapes, too_large)
    with pytest.raises(ConfigError, match=rf"take {most} or less"):
        lora.attach(make("llama"), too_large)


def test_pissa_of_more_components_than_there_are_is_refused(tmp_path: Path) -> None:
    words, config = r"method.rank = 20: an adapted layer has 16 principal components", read_method(PISSA | {"rank": 20})
    with pytest.raises(ConfigError, match=words):
        METHODS.get("lora").attach(make("llama"), config)
    with pytest.raises(ConfigError, match=words):
        METHODS.get("lora").trainable_parameters(shapes_of("llama", tmp_path), config)


@pytest.mark.parametrize("method", ["ia3", "pissa"])
def test_a_whole_run_learns_and_repeats_bit_for_bit(method: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    save_rows(tmp_path / "rows.jsonl")
    config = parse_config(
        {
            "model": {"path": str(tmp_path / "model")},
            "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}], "validation_fraction": 0.1},
            "method": TABLES[method],
            "precision": {"name": "bf16-mixed"},
            "training": {"batch_size": 4, "max_steps": 6, "learning_rate": 3e-2, "device": "cpu"},
        }
    )
    weights = []
    for name in ("first", "second"):
        folder = create_run(tmp_path / "runs", name, "")
        run.train(config, folder, Control(), lambda event: None)
        loss = folder.read_state()["validation_loss"]
        assert loss["last"] < loss["first"]
        weights.append((folder.adapter / "adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_checkpoint_of_pissa_goes_on_with_the_same_split(tmp_path: Path) -> None:
    """What a checkpoint holds is A and B; what was taken from W is found anew, and has to be the same."""
    splits: list[Bench] = [bench(PISSA) for _ in range(2)]
    first, second = (dict(tiny.model.named_buffers()) for tiny in splits)
    starts = [name for name in first if "studio_pissa" in name]
    assert len(starts) == 2 * 7 * 2
    assert all(torch.equal(first[name], second[name]) for name in starts)
