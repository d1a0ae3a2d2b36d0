"""Rotary positions (Su et al. 2021, arXiv 2104.09864) of queries and keys in one step of the graph.

transformers turns queries and keys apart, each in five operations, and its result is in fp32 where the angles are. Here
both are turned together in five operations, forward and backward, and keep their format.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Rotary: TypeAlias = Callable[..., tuple[Tensor, Tensor]]
_NAME = "apply_rotary_pos_emb"  # in the modules of transformers


def replace_rotary(base: nn.Module, rotary: Rotary) -> None:
    """Let the attention layers of a model call `rotary`, where that computes what they call now.

    They call a function of their Python module, which other models share. So each layer gets a forward of its own that
    finds `rotary` under that name.
    """
    agrees: dict[str, bool] = {}
    for module in base.modules():
        forward, place = type(module).forward, type(module).__module__
        if _NAME not in getattr(getattr(forward, "__code__", None), "co_names", ()):
            continue
        if place not in agrees:
            agrees[place] = _agree(getattr(sys.modules[place], _NAME), rotary, next(base.parameters()).device)
        if agrees[place]:
            names = {**forward.__globals__, _NAME: rotary}
            own = types.FunctionType(
                forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__
            )
            own.__kwdefaults__ = forward.__kwdefaults__
            module.forward = types.MethodType(own, module)


def turn_together(
    query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Return queries (rows, heads, positions, d) and keys (rows, fewer heads, positions, d), turned, in their format.

    `cos` and `sin` of the angles: (rows, positions, d). The heads are dimension `unsqueeze_dim`.
    """
    turned: tuple[Tensor, Tensor] = _Turn.apply(  # type: ignore[no-untyped-call]
        query, key, cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim), unsqueeze_dim
    )
    return turned


class _Turn(torch.autograd.Function):
    """(x1, x2) becomes (x1 cos1 - x2 sin1, x2 cos2 + x1 sin2), where x1 and x2 are the halves of a head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        ctx.heads = heads
        first, second = sin.chunk(2, -1)
        return _turn(query, key, cos, (-1.0, first), (1.0, second), heads)

    @staticmethod
    def backward(ctx: Any, of_query: Tensor, of_key: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        first, second = sin.chunk(2, -1)
        turned = _turn(of_query, of_key, cos, (1.0, second), (-1.0, first), ctx.heads)
        return *turned, None, None, None


def _turn(
    query: Tensor, key: Tensor, cos: Tensor, to_first: tuple[float, Tensor], to_second: tuple[float, Tensor], heads: int
) -> tuple[Tensor, Tensor]:
    """Multiply by `cos`; add to each half the other one times a factor and a tensor."""
    with torch.autocast(query.device.type, enabled=False):
        both = torch.cat([query, key], heads)
        turned = both * cos
        x1, x2 = both.chunk(2, -1)
        y1, y2 = turned.chunk(2, -1)
        y1.addcmul_(x2, to_first[1], value=to_first[0])
        y2.addcmul_(x1, to_second[1], value=to_second[0])
        return turned.to(both.dtype).split([query.shape[heads], key.shape[heads]], heads)  # type: ignore[no-any-return]


def _agree(plain: Rotary, rotary: Rotary, device: torch.device) -> bool:
    """Return whether two functions turn the same queries and keys alike."""

    def numbers(*shape: int) -> Tensor:
        return torch.arange(torch.Size(shape).numel(), device=device).view(shape).float().sin()

    angles = numbers(2, 5, 4).repeat(1, 1, 2)
    given = numbers(2, 4, 5, 8), numbers(2, 2, 5, 8), angles.cos(), angles.sin()
    try:
        # Some functions write into what they are given.
        sides = [function(*(tensor.clone() for tensor in given)) for function in (plain, rotary)]
    except (TypeError, RuntimeError, ValueError):  # they take something else
        return False
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*sides, strict=True))
