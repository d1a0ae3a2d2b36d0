"""The closed forms of what the backward pass keeps, against what autograd says that it saves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.config.method import read_method
from studio.engine.dtypes import torch_dtype
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.head import keep_head_converted
from studio.engine.methods import METHODS
from studio.engine.models.activations import BytesPerActivation, model_bytes
from studio.engine.precision import PRECISIONS
from tests.engine.methods.layouts import LAYOUTS, VOCABULARY, make
from tests.engine.methods.smollm2 import shapes_of
from tests.tiny import Row, bench, micro_batches

ROWS, LENGTH = 2, 64
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
    windows = {"layer_types": ["sliding_attention", "full_attention"] * (layers // 2), "sliding_window": 128}
    return make(layout, num_hidden_layers=layers, **(windows if layout in ("gemma2", "gemma3") else {}))


def saved_by_autograd(
    layout: str, table: dict[str, Any], precision: str, layers: int, shorter: int = 0, recompute: bool = False
) -> int:
    """Bytes that autograd saves for the backward pass of one micro-batch, but for the weights, each storage once."""
    base = deep(layout, layers)
    tiny = bench(table, {"name": precision}, base=base, recompute=recompute)
    if dtype := PRECISIONS.get(precision).autocast:
        keep_head_converted(base, torch_dtype(dtype))
        widen_attention(base)
    weights = {p.untyped_storage().data_ptr() for p in tiny.model.parameters()}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (ROWS, LENGTH + 1), generator=generator).tolist()
    ids[-1] = ids[-1][: LENGTH + 1 - shorter]
    (batch,) = micro_batches([Row(row, row) for row in ids])
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), tiny.trainer.autocast():
        tiny.loss(batch)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in weights)


def closed_form(layout: str, table: dict[str, Any], precision: str, layers: int) -> float:
    """The same by the formula, with the 16-bit copies of the linear weights that are trained."""
    shapes, config, formats = shapes_of(deep(layout, layers)), read_method(table), FORMATS[precision]
    method = METHODS.get(config.name)
    added = method.activation_bytes(shapes, config, formats)
    length = LENGTH + method.virtual_tokens(config)
    masked = method.positions(config) > method.virtual_tokens(config)
    linear = sum(layer.inputs * layer.outputs for layer in shapes.linear_layers)
    trained = linear if config.name == "full" else method.trainable_parameters(shapes, config)
    copies = trained * formats.compute if precision == "bf16-mixed" else 0
    return ROWS * length * (model_bytes(shapes, formats, length, masked=masked) + added.per_token) + added.once + copies


def assert_a_layer_keeps_what_the_formula_says(layout: str, method: str, precision: str, tolerance: float) -> None:
    """Two layers more, so that what lies outside the layers, and what no gradient reaches, is left out."""
    case = layout, METHOD_TABLES[method], precision
    found = saved_by_autograd(*case, layers=4) - saved_by_autograd(*case, layers=2)
    assert closed_form(*case, layers=4) - closed_form(*case, layers=2) == pytest.approx(found, rel=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize("method", ["full", "lora", "prompt-tuning"])
def test_every_layout_keeps_what_the_formula_says(layout: str, method: str, precision: str) -> None:
    assert_a_layer_keeps_what_the_formula_says(layout, method, precision, 0.1)


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("method", METHOD_TABLES)
def test_every_method_keeps_what_the_formula_says(method: str, precision: str) -> None:
    assert_a_layer_keeps_what_the_formula_says("llama", method, precision, 0.06)


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_rows_of_uneven_length_keep_no_mask(layout: str, precision: str) -> None:
    case = layout, METHOD_TABLES["lora"], precision
    found = saved_by_autograd(*case, layers=4, shorter=3) - saved_by_autograd(*case, layers=2, shorter=3)
    assert found == saved_by_autograd(*case, layers=4) - saved_by_autograd(*case, layers=2)


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize("layout", ["llama", "qwen2", "gemma2", "gpt2"])
def test_a_layer_that_is_recomputed_keeps_its_input_alone(layout: str, precision: str) -> None:
    assert_a_recomputed_layer_keeps_its_input(layout, "lora", precision)


@pytest.mark.parametrize("method", METHOD_TABLES)
def test_with_every_method_a_recomputed_layer_keeps_its_input_alone(method: str) -> None:
    assert_a_recomputed_layer_keeps_its_input("llama", method, "bf16-mixed")


def assert_a_recomputed_layer_keeps_its_input(layout: str, method: str, precision: str) -> None:
    case = layout, METHOD_TABLES[method], precision
    kept = [saved_by_autograd(*case, layers=layers, recompute=True) for layers in (4, 2)]
    chosen = METHODS.get(METHOD_TABLES[method]["name"])
    length = LENGTH + chosen.virtual_tokens(read_method(METHOD_TABLES[method]))
    inputs = ROWS * length * shapes_of(deep(layout, 2)).hidden_size * FORMATS[precision].residual
    assert 2 * inputs == pytest.approx(kept[0] - kept[1], rel=0.1)


def test_below_frozen_layers_and_embeddings_nothing_is_kept() -> None:
    frozen = {"name": "full", "freeze_embeddings": True, "freeze_layers": 2}
    whole = {"name": "full", "freeze_embeddings": True}
    found = saved_by_autograd("llama", frozen, "fp32", 4) - saved_by_autograd("llama", whole, "fp32", 2)
    said = closed_form("llama", frozen, "fp32", 4) - closed_form("llama", whole, "fp32", 2)
    assert abs(said - found) < 0.1 * closed_form("llama", whole, "fp32", 2)


def test_dropped_attention_keeps_scores_that_grow_with_the_rows() -> None:
    short, long = (model_bytes(shapes_of(make("gpt2", attn_pdrop=0.1)), FORMATS["fp32"], n) for n in (64, 128))
    assert model_bytes(shapes_of(make("gpt2")), FORMATS["fp32"], 128) < short < long
