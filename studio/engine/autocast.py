"""The context in which a forward pass computes: torch's autocast, with fp16 made bearable on processors.

Most processors have no fp16 units, and torch's fp16 matrix products are there 10 to 50 times slower than fp32
ones. `_HalfProducts` computes them as tensor cores do (fp16 operands, sums in fp32, one rounding to fp16 at
the end), with the fp32 routine. Range and rounding are those of fp16, so overflow and underflow are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from studio.engine.precision import Precision

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute matrix products in the format of `precision`, for a while."""
    if precision.autocast is None:
        yield
        return
    with torch.autocast(device.type, DTYPES[precision.autocast]):
        if precision.autocast == "fp16" and device.type == "cpu" and not cpu_has_fp16():
            with _HalfProducts():
                yield
        else:
            yield


def cpu_has_fp16() -> bool:
    """Return whether the processor multiplies fp16 matrices in hardware."""
    return _cpu_has("avx512_fp16", "amx_fp16", "fp16_arith")


def cpu_has_bf16() -> bool:
    """Return whether the processor multiplies bf16 matrices in hardware (x86: AVX-512 or AMX; ARM: bf16)."""
    return _cpu_has("avx512_bf16", "amx_bf16", "bf16")


def _cpu_has(*names: str) -> bool:
    # Older torch cannot tell; no is then the careful answer.
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(able.get(name, False) for name in names)


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
        with torch.autocast("cpu", enabled=False):
            return F.linear(half_input.float(), half_weight.float()).half()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        wide = gradient.float()
        to_input = (wide @ weight.float()).half() if ctx.needs_input_grad[0] else None
        if inputs is None:
            return to_input, None
        to_weight = wide.flatten(0, -2).t() @ inputs.float().flatten(0, -2)
        return to_input, to_weight.half()
