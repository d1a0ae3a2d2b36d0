"""Frozen linear weights in 4 or 8 bits, through bitsandbytes.

nf4: 4-bit numbers at the quantiles of a normal distribution, with a scale for every 64 of them that is itself stored
in 8 bits (Dettmers et al. 2023, QLoRA, arXiv 2305.14314). int8: rows scaled to 8 bits, with inputs beyond 6 kept out
of the 8-bit product on a GPU (Dettmers et al. 2022, LLM.int8(), arXiv 2208.07339).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from studio.engine.kernels.products import dense
from studio.engine.models.quiet import import_bitsandbytes
from studio.engine.models.structure import linear_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OUTLIER = 6.0  # the threshold of the paper on LLM.int8()
_BLOCK = 64  # numbers that share a scale
_PIECE = 1 << 22  # numbers that are quantised together; a multiple of _BLOCK


def quantise_base(model: PreTrainedModel, base_dtype: str, compute: torch.dtype, device: torch.device) -> None:
    """Replace, in place, the linear layers of a model but its output by frozen ones in `base_dtype` on `device`.

    Args:
        model: a plain transformers model, not yet changed by a method; peft recognises the layers.
        base_dtype: int8 or nf4.
        compute: the format in which nf4 layers multiply.
        device: where training will run.
    """
    plain = dict(model.named_modules())
    for name, layer in place_quantised(model, base_dtype, compute).items():
        fill(layer, plain[name].weight.data.to(device))
        layer.to(device)


def place_quantised(model: PreTrainedModel, base_dtype: str, compute: torch.dtype) -> dict[str, nn.Module]:
    """Do the same, but leave the weights of the new layers to `fill`; return the new layers by name."""
    bnb = import_bitsandbytes()
    placed = {}
    for layer in linear_layers(model):
        parent, _, leaf = layer.name.rpartition(".")
        placed[layer.name] = _quantised(bnb, model.get_submodule(layer.name), base_dtype, compute)
        setattr(model.get_submodule(parent), leaf, placed[layer.name])
    # peft chooses its layers by this mark, which transformers sets when it quantises by itself.
    setattr(model, "is_loaded_in_4bit" if base_dtype == "nf4" else "is_loaded_in_8bit", True)
    return placed


def fill(layer: Any, weight: Tensor) -> None:
    """Quantise `weight` where it lies and put it into a layer of `place_quantised`.

    Args:
        weight: in the shape of the plain layer, in any format.
    """
    bnb = import_bitsandbytes()
    weight = (weight.t() if layer.fan_in_fan_out else weight).contiguous()
    if isinstance(layer, bnb.nn.Linear4bit):
        layer.weight = _nf4(bnb, layer, weight)
    else:
        rounded, scales, _ = bnb.functional.int8_vectorwise_quant(weight.half())
        layer.weight = bnb.nn.Int8Params(rounded, CB=rounded, SCB=scales, requires_grad=False, has_fp16_weights=False)


def _nf4(bnb: Any, layer: Any, weight: Tensor) -> nn.Parameter:
    """Do what `Params4bit.to` does, bit for bit, with a piece of the weights at a time: it takes 20 bytes a number."""
    pieces = [
        bnb.functional.quantize_4bit(piece.float(), blocksize=_BLOCK, compress_statistics=False, quant_type="nf4")
        for piece in weight.view(-1).split(_PIECE)
    ]
    scales = torch.cat([state.absmax for _, state in pieces])
    offset = scales.mean()
    rounded_scales, of_scales = bnb.functional.quantize_blockwise(scales - offset, blocksize=256)
    state = bnb.functional.QuantState(
        absmax=rounded_scales,
        shape=weight.shape,
        dtype=layer.compute_dtype or torch.float32,  # what bitsandbytes' own products make of it
        blocksize=_BLOCK,
        code=pieces[0][1].code,
        quant_type="nf4",
        offset=offset,
        state2=of_scales,
    )
    layer.quant_state = state
    packed = torch.cat([numbers for numbers, _ in pieces])
    return bnb.nn.Params4bit(  # type: ignore[no-any-return]
        packed,
        requires_grad=False,
        quant_state=state,
        blocksize=_BLOCK,
        quant_type="nf4",
        bnb_quantized=True,
        module=layer,
    )


def is_quantised(model: nn.Module) -> bool:
    """Return whether the linear layers of a transformers model have been replaced by quantised ones."""
    return getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)


def is_filled(layer: Any) -> bool:
    """Return whether a layer of `place_quantised` has its weights."""
    return layer.weight.dtype in (torch.uint8, torch.int8)


def dequantised(layer: Any) -> Tensor:
    """Return the rounded weights of a quantised layer as its products take them, fp32, (outputs, inputs)."""
    bnb = import_bitsandbytes()
    weight = layer.weight
    if hasattr(weight, "quant_state"):
        return dense(weight, torch.float32)
    # The first product moves the rows' scales from the weight to the layer's state.
    scales = layer.state.SCB if weight.SCB is None else weight.SCB
    return bnb.functional.int8_vectorwise_dequant(weight.data, scales).float()  # type: ignore[no-any-return]


def round_weight(layer: Any, base_dtype: str) -> None:
    """Round the weight of a plain linear layer, in place, to what it is in `base_dtype`; its format stays."""
    made: Any = _quantised(import_bitsandbytes(), layer, base_dtype, torch.float32)
    fill(made, layer.weight.data)
    weight = dequantised(made).to(layer.weight.dtype)
    layer.weight.data = weight.t().contiguous() if made.fan_in_fan_out else weight
    del made.weight  # it refers to its layer: a circle, which would keep both until Python's collector comes by


@contextmanager
def products_in_fp32(module: nn.Module) -> Iterator[None]:
    """Let the quantised layers inside a module multiply in fp32 for a while.

    By themselves they would go on in the format that they were made for, outside of autocast too, or in that of int8.
    """
    layers = [inner for inner in module.modules() if type(inner).__module__.startswith("bitsandbytes.")]
    for layer in layers:
        layer.forward = partial(_product_in_fp32, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _product_in_fp32(layer: Any, inputs: Tensor) -> Tensor:
    return nn.functional.linear(inputs.float(), dequantised(layer), layer.bias)


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights; an nf4 layer holds two in a byte."""
    return sum(_size(parameter) for parameter in model.parameters())


def _size(parameter: nn.Parameter) -> int:
    state: Any = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()


def _quantised(bnb: Any, layer: Any, base_dtype: str, compute: torch.dtype) -> nn.Module:
    """Return a layer for the same inputs and outputs, whose weights are on the meta device."""
    transposed = not isinstance(layer, nn.Linear)  # GPT-2 keeps its weights as (inputs, outputs)
    outputs, inputs = reversed(layer.weight.shape) if transposed else layer.weight.shape
    place: dict[str, Any] = {"bias": layer.bias is not None, "device": "meta"}
    made: Any
    if base_dtype == "nf4":
        made = bnb.nn.Linear4bit(inputs, outputs, compute_dtype=compute, quant_type="nf4", **place)
    else:
        made = bnb.nn.Linear8bitLt(inputs, outputs, has_fp16_weights=False, threshold=_OUTLIER, **place)
    made.bias = layer.bias
    made.fan_in_fan_out = transposed
    made.register_forward_pre_hook(_as_in_training)
    return made  # type: ignore[no-any-return]


def _as_in_training(layer: Any, _inputs: Any) -> None:
    """Keep to the products of training in evaluation too, and keep int8's scales where peft's DoRA wraps them anew.

    In evaluation bitsandbytes would round the inputs as well (int8), or repack the weights for good into a form
    that gives no gradients (nf4 on processors with bf16), so that training would stand still after it.
    """
    layer.training = True
    state = getattr(layer, "state", None)
    if state is not None and state.SCB is not None and layer.weight.SCB is None:
        layer.weight.CB = None
