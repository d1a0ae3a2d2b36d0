"""The context in which a forward pass computes: torch's autocast, with fp16 made bearable on processors.

`_HalfProducts` sends the products of linear layers through `studio.engine.kernels.products` where torch's own fp16
products are slow. Range and rounding stay those of fp16, so overflow and underflow are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from studio.engine.dtypes import torch_dtype
from studio.engine.kernels.products import cpu_has_fp16, mm
from studio.engine.precision import Precision


@contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute matrix products in the format of `precision`, for a while."""
    if precision.autocast is None:
        yield
        return
    with torch.autocast(device.type, torch_dtype(precision.autocast)), half_products():
        yield


def half_products() -> AbstractContextManager[object]:
    """Return what makes fp16 products bearable, where autocast is on, computes them on a processor, and needs it."""
    on = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.float16
    return _HalfProducts() if on and not cpu_has_fp16() else nullcontext()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in the matrix products of NVIDIA GPUs for a while; other devices do not notice.

    fp32 products then run on tensor cores, with 10 bits of detail in place of 23 (Ampere and later).
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32 = before


class _HalfProducts(TorchFunctionMode):
    """Replaces the products of linear layers; everything else goes its usual way."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_autocast_enabled("cpu"):
            if func is F.linear:
                return _linear(*args, **kwargs)
            if func is torch.addmm and not kwargs:  # GPT-2's transposed linear layer
                bias, inputs, weight = args
                return _linear(inputs, weight.t(), bias)
        return func(*args, **kwargs)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = _HalfLinear.apply(input, weight)  # type: ignore[no-untyped-call]
    return product if bias is None else product + bias.half()


class _HalfLinear(torch.autograd.Function):
    """input @ weightᵀ and its gradients; every operand and every result is rounded to fp16."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        half_input, half_weight = input.half(), weight.half()
        ctx.save_for_backward(half_input if ctx.needs_input_grad[1] else None, half_weight)
        return mm(half_input.flatten(0, -2), half_weight.t()).view(*input.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        flat = gradient.flatten(0, -2)
        to_input = mm(flat, weight).view(*gradient.shape[:-1], -1) if ctx.needs_input_grad[0] else None
        to_weight = None if inputs is None else mm(flat.t(), inputs.flatten(0, -2))
        return to_input, to_weight
