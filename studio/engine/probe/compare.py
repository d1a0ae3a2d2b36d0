"""Gradients of the same update in two precisions, held against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from studio.exponents import FP16

# Entries that are compared, evenly spread over all: 64 MB in fp32.
COMPARED = 1 << 24


def sample_gradients(parameters: Sequence[nn.Parameter], most: int = COMPARED) -> Tensor:
    """Return about `most` gradient entries at most, fp32, on the processor; the same places for the same shapes."""
    # An odd stride visits all columns of a matrix whose width is even.
    stride = math.ceil(sum(parameter.numel() for parameter in parameters) / most) | 1
    some = []
    for parameter in parameters:
        values = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        some.append(values.detach().reshape(-1)[::stride].float().cpu())
    return torch.cat(some)


def compare_gradients(gradient: Tensor, reference: Tensor) -> tuple[float | None, float | None]:
    """Return the cosine of the angle between two gradients, and the share of `reference`'s entries lost to zero.

    None stands for what is not defined, because one of them is zero everywhere.
    """
    wide, other = gradient.double(), reference.double()
    lengths = float(wide.norm() * other.norm())
    there = reference != 0
    count = int(there.sum())
    lost = int((there & (gradient == 0)).sum())
    return (float(wide @ other) / lengths if lengths > 0 else None), (lost / count if count else None)


def subnormal_share(gradient: Tensor, scale: float, reference: Tensor) -> float | None:
    """Return the share of `reference`'s entries, not zero, that fp16 at the loss scale keeps with less detail."""
    there = reference != 0
    count = int(there.sum())
    magnitudes = gradient.abs() * scale
    subnormal = there & (magnitudes > 0) & (magnitudes < 2.0**FP16.smallest_normal)
    return int(subnormal.sum()) / count if count else None
