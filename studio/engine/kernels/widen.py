"""Frozen weights that are stored in fewer bits than their inputs, widened where they are used.

A weight of 16 bits gives in fp32 exactly what an fp32 copy of it would give, at half the memory. Under autocast a
linear layer multiplies in 16 bits anyway. Without, its weights are widened for the product, and once more for the
backward pass, so that no wide copy is kept in between. Of an embedding only the rows that are looked up are widened; it
may be in the memory of the processor while the model computes on a GPU.
"""

from __future__ import annotations

import copy
import types
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Numbers that are widened at a time: 256 MB in fp32.
_PART = 1 << 26


def widen_at_use(base: PreTrainedModel) -> None:
    """Let the linear layers and embeddings of a model give fp32, whatever format their weights have then."""
    from transformers.pytorch_utils import Conv1D

    words = type(base.get_input_embeddings())
    for module in base.modules():
        if type(module) in (nn.Linear, Conv1D):
            module.forward = types.MethodType(_linear, module)
        elif type(module) in (nn.Embedding, words):
            module.forward = types.MethodType(_embedding, module)


def stay(module: nn.Module) -> None:
    """Let a module stay where it is when the model around it moves to a device."""
    module._apply = lambda fn, recurse=True: module  # type: ignore[method-assign]


def _linear(layer: Any, x: Tensor) -> Tensor:
    if torch.is_autocast_enabled(x.device.type) or layer.weight.dtype.itemsize >= x.dtype.itemsize:
        plain: Tensor = type(layer).forward(layer, x)
        return plain
    product: Tensor = _WideProduct.apply(x, layer.weight if type(layer) is nn.Linear else layer.weight.t())  # type: ignore[no-untyped-call]
    return product if layer.bias is None else product + layer.bias


class _WideProduct(torch.autograd.Function):
    """x (…, d_in) times a frozen weight (d_out, d_in) in the format of x: (…, d_out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        parts = [nn.functional.linear(x, part.to(x.dtype)) for part in _parts(weight)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        parts = _parts(weight)
        columns = gradient.split([len(part) for part in parts], -1)
        first, *others = (column @ part.to(gradient.dtype) for column, part in zip(columns, parts, strict=True))
        for other in others:
            first += other
        return first, None


def _parts(weight: Tensor) -> tuple[Tensor, ...]:
    """Split a weight (d_out, d_in) by outputs. An output layer of a large vocabulary is never wide as a whole."""
    parts: tuple[Tensor, ...] = weight.split(max(1, _PART // weight.shape[1]))
    return parts


def _embedding(layer: Any, ids: Tensor) -> Tensor:
    """Look the words up where the table is, and return them where `ids` are, in fp32.

    Some classes scale what they find, so theirs is called, with the rows of `ids` alone.
    """
    found: Tensor
    table = layer.weight
    if table.dtype.itemsize >= 4 and table.device == ids.device:
        found = type(layer).forward(layer, ids)
        return found
    rows = nn.functional.embedding(ids.flatten().to(table.device), table).to(ids.device).float()
    narrow = copy.copy(layer)
    narrow._parameters = {"weight": rows}
    narrow.padding_idx = None
    found = type(layer).forward(narrow, torch.arange(len(rows), device=rows.device).view(ids.shape))
    return found
