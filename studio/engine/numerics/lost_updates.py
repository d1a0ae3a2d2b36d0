"""Updates that rounding loses: in pure bf16 or fp16, a weight plus a small update is the same weight again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

# Weights looked at, evenly spread over all of them.
_LOOKED_AT = 1 << 20


class LostUpdates:
    """Watches one optimizer step: `with LostUpdates(parameters) as lost: optimizer.step()`, then `lost.share`.

    Attributes:
        share: weights that stayed exactly as they were, of those whose gradient is not zero (0 to 1); None when
            there are none. Measured on about a million weights at most, whose old values are kept for the time.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.share: float | None = None
        self._parameters = [parameter for parameter in parameters if parameter.grad is not None]
        total = sum(parameter.numel() for parameter in self._parameters)
        # An odd stride visits all columns of a matrix whose width is even.
        self._stride = math.ceil(total / _LOOKED_AT) | 1
        self._before: list[Tensor] = []

    def __enter__(self) -> Self:
        self._before = [self._some(parameter).clone() for parameter in self._parameters]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        before, self._before = self._before, []
        if error is not None or not before:
            return
        # The optimizer moves every weight whose gradient is not zero. One that is still the same was rounded back.
        lost, intended = torch.zeros(2, dtype=torch.int64, device=before[0].device)
        for old, parameter in zip(before, self._parameters, strict=True):
            assert parameter.grad is not None
            moved_by = self._some(parameter.grad) != 0
            intended += moved_by.sum()
            lost += (moved_by & (self._some(parameter) == old)).sum()
        counts = torch.stack([lost, intended]).tolist()
        self.share = counts[0] / counts[1] if counts[1] else None

    def _some(self, values: Tensor) -> Tensor:
        return values.detach().reshape(-1)[:: self._stride]
