"""The 16- and 32-bit floating-point formats, and histograms of exponents: what a loss scale would flush or overflow.

Without torch and without Qt: the engine counts into these histograms, the window draws them.
Formats: IEEE 754-2019 (binary16, binary32) and bfloat16. The use of the histogram: Micikevicius et al. 2018
(arXiv 1710.03740), figure 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Format:
    """A floating-point format. Exponents are of two.

    Attributes:
        largest: the largest finite number.
        overflow: numbers from here on become infinite when rounded to the format.
        smallest_normal: exponent of the smallest normal number.
        smallest: exponent of the smallest subnormal number; half of it and below is flushed to zero.
    """

    name: str
    largest: float
    overflow: float
    smallest_normal: int
    smallest: int


FP16 = Format(name="fp16", largest=65504.0, overflow=65520.0, smallest_normal=-14, smallest=-24)
BF16 = Format(
    name="bf16",
    largest=(2.0 - 2.0**-7) * 2.0**127,
    overflow=(2.0 - 2.0**-8) * 2.0**127,
    smallest_normal=-126,
    smallest=-133,
)
FP32 = Format(
    name="fp32",
    largest=(2.0 - 2.0**-23) * 2.0**127,
    overflow=math.inf,  # what lies above is not an fp32 number to begin with
    smallest_normal=-126,
    smallest=-149,
)
FORMATS = {fmt.name: fmt for fmt in (FP16, BF16, FP32)}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Parts of all entries, 0 to 1 each, that a format makes zero, keeps with less detail, keeps, or makes infinite."""

    zero: float
    subnormal: float
    normal: float
    overflow: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many numbers have which power of two, their sign ignored.

    Attributes:
        first: the exponent of the first bin; bin i counts numbers from 2^(first+i) up to 2^(first+i+1).
        counts: numbers in each bin.
        zeros: numbers that are exactly zero.
        non_finite: numbers that are nan or infinite.
    """

    first: int
    counts: tuple[int, ...]
    zeros: int = 0
    non_finite: int = 0

    @property
    def total(self) -> int:
        """All numbers, those that are zero or not finite among them."""
        return sum(self.counts) + self.zeros + self.non_finite

    def shares(self, scale: float, fmt: Format = FP16) -> Shares:
        """Return what rounding to `fmt` would do to the numbers multiplied by `scale`.

        Within a bin numbers are taken as evenly spread on the logarithmic axis. What was not finite when it was
        recorded counts as overflow at every scale, what was zero as zero.
        """
        shift = math.log2(scale)
        limits = (fmt.smallest - 1 - shift, fmt.smallest_normal - shift, math.log2(fmt.overflow) - shift)
        below = [self._below(limit) for limit in limits]
        total = max(1, self.total)
        return Shares(
            zero=(self.zeros + below[0]) / total,
            subnormal=(below[1] - below[0]) / total,
            normal=(below[2] - below[1]) / total,
            overflow=(self.non_finite + sum(self.counts) - below[2]) / total,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it for an event."""
        return dataclasses.asdict(self) | {"counts": list(self.counts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Histogram:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "counts": tuple(values["counts"])})

    def _below(self, exponent: float) -> float:
        """Number of finite, non-zero entries below 2^exponent."""
        place = exponent - self.first
        if place <= 0:
            return 0.0
        whole = min(len(self.counts), math.floor(min(place, 1e9)))
        part = self.counts[whole] * (place - whole) if whole < len(self.counts) else 0.0
        return sum(self.counts[:whole]) + part
