"""The closed forms of what the backward pass keeps, against what autograd says that it saves."""

from __future__ import annotations

from functools import cache
from typing import Any
from weakref import WeakSet

import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from studio.config import parse_config
from studio.config.method import read_method
from studio.engine.dtypes import torch_dtype
from studio.engine.estimate.formula import Formula, Work
from studio.engine.fit import Fit
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.head import keep_head_converted
from studio.engine.methods import METHODS
from studio.engine.models.activations import BytesPerActivation, model_bytes
from studio.engine.models.shapes import ModelShapes
from studio.engine.precision import PRECISIONS
from tests.engine.methods.layouts import LAYOUTS, VOCABULARY, make
from tests.engine.methods.smollm2 import shapes_of
from tests.tiny import Row, bench, micro_batches

ROWS, LENGTH = 2, 64
# Layers enough for what lies outside of them, and below the first trained weight, to be little.
DEEP = 12
FORMATS = {
    "fp32": BytesPerActivation(residual=4, compute=4, attention=4),
    "bf16-mixed": BytesPerActivation(residual=4, compute=2, attention=4),
    "bf16-pure": BytesPerActivation(residual=2, compute=2, attention=4),
}
METHOD_TABLES: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 4, "dropout": 0.1},
    "lora, attention": {"name": "lora", "rank": 4, "dropout": 0.0, "target_modules": ["attention-only"]},
    "dora": {"name": "lora", "rank": 4, "dropout": 0.1, "dora": True},
    "bottleneck-adapter": {"name": "bottleneck-adapter", "bottleneck": 8},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 4},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 4},
}


def deep(layout: str, layers: int) -> PreTrainedModel:
    if layout == "moe":
        return moe(layers)
    windows = {"layer_types": ["sliding_attention", "full_attention"] * (layers // 2), "sliding_window": 128}
    return make(layout, num_hidden_layers=layers, **(windows if layout in ("gemma2", "gemma3") else {}))


@cache
def deep_shapes(layout: str, layers: int) -> ModelShapes:
    return shapes_of(deep(layout, layers))


def moe(layers: int) -> PreTrainedModel:
    """Mixtral: four experts, of which a router chooses two; in 16 bits, as they are loaded where they do not learn."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.MixtralConfig(
        vocab_size=VOCABULARY, num_hidden_layers=layers, num_local_experts=4, num_experts_per_tok=2, **sizes
    )
    return transformers.MixtralForCausalLM(config).eval()


def kept_by_autograd(
    layout: str,
    table: dict[str, Any],
    precision: str,
    layers: int,
    *,
    rows: int = ROWS,
    shorter: int = 0,
    recompute: bool = False,
) -> int:
    """Bytes that autograd keeps for the backward pass of one micro-batch, but for the weights, each storage once."""
    base = deep(layout, layers)
    if table["name"] != "full" and precision != "fp32":
        for stacked in (parameter for parameter in base.parameters() if parameter.dim() == 3):
            stacked.data = stacked.data.bfloat16()
    tiny = bench(table, {"name": precision}, base=base, recompute=recompute)
    if dtype := PRECISIONS.get(precision).autocast:
        keep_head_converted(base, torch_dtype(dtype))
        widen_attention(base)
    weights = {p.untyped_storage().data_ptr() for p in tiny.model.parameters()}
    saved: WeakSet[Kept] = WeakSet()

    def keep(tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        saved.add(kept)
        return kept

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (rows, LENGTH + 1), generator=generator).tolist()
    ids[-1] = ids[-1][: LENGTH + 1 - shorter]
    (batch,) = micro_batches([Row(row, row) for row in ids])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor), tiny.trainer.autocast():
        loss = tiny.loss(batch)
    assert loss.requires_grad  # it holds all that is kept; pieces of the logits are gone
    storages = (kept.tensor.untyped_storage() for kept in saved)
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    return sum(size for place, size in sizes.items() if place not in weights)


class Kept:
    """A tensor that autograd keeps, as long as it does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def closed_form(layout: str, table: dict[str, Any], precision: str, layers: int) -> float:
    """The same by the formula, with the 16-bit copies of the linear weights that are trained."""
    shapes, config, formats = deep_shapes(layout, layers), read_method(table), FORMATS[precision]
    method = METHODS.get(config.name)
    added = method.activation_bytes(shapes, config, formats)
    length = LENGTH + method.virtual_tokens(config)
    masked = method.positions(config) > method.virtual_tokens(config)
    linear = sum(layer.inputs * layer.outputs for layer in shapes.linear_layers)
    trained = linear if config.name == "full" else method.trainable_parameters(shapes, config)
    copies = trained * formats.compute if precision == "bf16-mixed" else 0
    of_tokens = model_bytes(shapes, formats, length, masked=masked) + added.per_token
    return ROWS * length * of_tokens + added.of_weights + copies


def assert_a_layer_keeps_what_the_formula_says(layout: str, method: str, precision: str, tolerance: float) -> None:
    """Two layers more, so that what lies outside the layers, and what no gradient reaches, is left out."""
    case = layout, METHOD_TABLES[method], precision
    found = kept_by_autograd(*case, layers=4) - kept_by_autograd(*case, layers=2)
    assert closed_form(*case, layers=4) - closed_form(*case, layers=2) == pytest.approx(found, rel=tolerance)


@pytest.mark.parametrize("method", METHOD_TABLES)
@pytest.mark.parametrize(("layout", "rows"), [("llama", 1), ("qwen2", 2), ("gemma2", 2), ("gpt2", 1), ("moe", 1)])
def test_all_that_is_kept_is_what_the_formula_says(layout: str, method: str, rows: int) -> None:
    table = METHOD_TABLES[method]
    # Below the first adapter nothing is kept: in Gemma 2 2B the scores of one attention of 26.
    layers = 26 if (layout, method) == ("gemma2", "bottleneck-adapter") else DEEP
    settings = {"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "precision": {"name": "bf16-mixed"}}
    config = parse_config(settings | {"method": table})
    formula = Formula(deep_shapes(layout, layers), config, PRECISIONS.get("bf16-mixed"), "cpu")
    for recompute in (False, True):
        found = kept_by_autograd(layout, table, "bf16-mixed", layers, rows=rows, recompute=recompute)
        fit = Fit(recompute=recompute, micro_batch_tokens=1)
        assert formula.kept(fit, Work(rows=rows, length=LENGTH)) == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("precision", FORMATS)
def test_changed_experts_are_kept(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"name": "lora", "rank": 4, "dropout": 0.0, "experts": True}
    monkeypatch.setitem(METHOD_TABLES, "experts", table)
    assert_a_layer_keeps_what_the_formula_says("moe", "experts", precision, 0.1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("method", "precision"), [("full", "fp32"), ("lora", "bf16-mixed"), ("prompt-tuning", "fp32")])
def test_every_layout_keeps_what_the_formula_says(layout: str, method: str, precision: str) -> None:
    assert_a_layer_keeps_what_the_formula_says(layout, method, precision, 0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16-pure"])
@pytest.mark.parametrize("method", METHOD_TABLES)
def test_every_method_keeps_what_the_formula_says(method: str, precision: str) -> None:
    assert_a_layer_keeps_what_the_formula_says("llama", method, precision, 0.06)


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_rows_of_uneven_length_keep_no_mask(layout: str, precision: str) -> None:
    case = layout, METHOD_TABLES["lora"], precision
    found = kept_by_autograd(*case, layers=4, shorter=3) - kept_by_autograd(*case, layers=2, shorter=3)
    assert found == kept_by_autograd(*case, layers=4) - kept_by_autograd(*case, layers=2)


def test_below_frozen_layers_and_embeddings_nothing_is_kept() -> None:
    frozen = {"name": "full", "freeze_embeddings": True, "freeze_layers": 2}
    whole = {"name": "full", "freeze_embeddings": True}
    found = kept_by_autograd("llama", frozen, "fp32", 4) - kept_by_autograd("llama", whole, "fp32", 2)
    said = closed_form("llama", frozen, "fp32", 4) - closed_form("llama", whole, "fp32", 2)
    assert abs(said - found) < 0.1 * closed_form("llama", whole, "fp32", 2)


def test_dropped_attention_keeps_scores_that_grow_with_the_rows() -> None:
    short, long = (model_bytes(shapes_of(make("gpt2", attn_pdrop=0.1)), FORMATS["fp32"], n) for n in (64, 128))
    assert model_bytes(shapes_of(make("gpt2")), FORMATS["fp32"], 128) < short < long
