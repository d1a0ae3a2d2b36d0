"""Matrix products in the compute format; fp16 on processors without fp16 units is computed as tensor cores do.

Most processors have no fp16 units, and torch's fp16 products are there 10 to 50 times slower than fp32 ones. Here
they take fp16 operands, sum in fp32 and round once at the end, so range and rounding are those of fp16.
"""

from __future__ import annotations

import copy
import functools
import importlib
import os
from typing import Any

import torch
from torch import Tensor

# Values of ONEDNN_MAX_CPU_ISA (oneDNN's developer guide, "CPU Dispatcher Control") without 16-bit products.
_WITHOUT_16_BITS = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


def mm(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right, (rows, columns), in the format of the operands."""
    if _needs_help(left):
        with torch.autocast("cpu", enabled=False):
            return (left.float() @ right.float()).half()
    return left @ right


def addmm(summand: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return summand + left @ right, rounded once."""
    if _needs_help(left):
        with torch.autocast("cpu", enabled=False):
            return torch.addmm(summand.float(), left.float(), right.float()).half()
    return torch.addmm(summand, left, right)


def addmm_(summand: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Add left @ right to `summand` in place, rounded once, and return it."""
    if _needs_help(left):
        return summand.copy_(addmm(summand, left, right))
    return summand.addmm_(left, right)


def dense(weight: Any, dtype: torch.dtype) -> Tensor:
    """Return a frozen weight, in nf4 or in any floating-point format, as (outputs, inputs) in `dtype`."""
    if (state := getattr(weight, "quant_state", None)) is None:
        converted: Tensor = weight.to(dtype)
        return converted
    # Made in `dtype` at once: by way of fp32, the largest layer of a 7 B model would take 270 MB more for a moment.
    state = copy.copy(state)
    state.dtype = dtype
    # An optional library; who made the weight has imported it before.
    made: Tensor = importlib.import_module("bitsandbytes.functional").dequantize_4bit(weight.data, state)
    return made


def _needs_help(operand: Tensor) -> bool:
    return operand.dtype is torch.float16 and operand.device.type == "cpu" and not cpu_has_fp16()


def cpu_has_fp16() -> bool:
    """Return whether the processor multiplies fp16 matrices in hardware."""
    return _cpu_has("avx512_fp16", "amx_fp16", "fp16_arith")


def cpu_has_bf16() -> bool:
    """Return whether the processor multiplies bf16 matrices in hardware (x86: AVX-512 or AMX; ARM: bf16)."""
    return _cpu_has("avx512_bf16", "amx_bf16", "bf16")


def _cpu_has(*names: str) -> bool:
    # oneDNN computes torch's products. Told to keep to older instructions, it is as slow as an older processor.
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_16_BITS and _built_with(*names)


@functools.cache
def _built_with(*names: str) -> bool:
    # Older torch cannot tell; no is then the careful answer.
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(able.get(name, False) for name in names)
