"""Counting numbers by their power of two, on the device where they are, without waiting for it.

An fp32 number is sign, 8 bits of exponent, 23 of mantissa (IEEE 754-2019, binary32); fp16 and bf16 convert to it
exactly, fp16's subnormals among them. So shifting the bits by 23 gives the power of two, and one count of these
gives the shares of zeros, of fp16's subnormals and of non-finite numbers, and the histogram.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.exponents import FP16, Histogram

_MANTISSA_BITS = 23
_BIAS = 127  # the stored exponent of 2^0
_INFINITY = 0x7F800000  # the bits of infinity; those of every nan are larger
_MANTISSA = 0x007FFFFF  # masks for the mantissa, and for all but the sign
_MAGNITUDE = 0x7FFFFFFF
# Bins are wanted of the numbers divided by the loss scale, but are counted before that division. With a scale of
# 2^p (1 + m), a number with the stored exponent e lies in bin e - p after the division if its mantissa is at least m,
# and in bin e - p - 1 if not. So each of the 256 exponents has two bins, split at m, and the division is exact.
BINS = 512
_CHUNK = 1 << 18  # numbers looked at together: they stay in a processor's cache


@dataclass(frozen=True)
class Scale:
    """A factor that numbers were multiplied by, as fp32 sees it: 2^power × (1 + mantissa / 2^23)."""

    value: float = 1.0

    @property
    def mantissa(self) -> int:
        return self._bits & _MANTISSA

    @property
    def power(self) -> int:
        return (self._bits >> _MANTISSA_BITS) - _BIAS

    @property
    def _bits(self) -> int:
        bits: int = struct.unpack("<i", struct.pack("<f", self.value))[0]
        return bits


UNSCALED = Scale()


class CpuTallies:
    """Counts of several streams of numbers, for processors; GPUs have `gpu_tally.GpuTallies`.

    A stream is whatever is to have counts of its own, such as the output of one module.
    """

    def __init__(self, streams: int) -> None:
        self._counts = torch.zeros((streams, BINS), dtype=torch.int64)
        self._non_zero = torch.zeros((streams, 1), dtype=torch.int64)
        self._largest = torch.zeros((streams, 1), dtype=torch.int32)
        # Room to work in, taken once: fresh memory for every chunk would cost more than the counting.
        self._numbers = torch.empty(_CHUNK, dtype=torch.float32)
        self._bins = torch.empty_like(self._numbers, dtype=torch.int32)

    def add(self, stream: int, numbers: Tensor, scale: Scale = UNSCALED) -> None:
        """Count `numbers` (any shape and floating-point format), which were multiplied by `scale`.

        Nothing of them is kept. A tensor that is not contiguous is copied for the time.
        """
        flat = numbers.detach().reshape(-1)
        for chunk in flat.split(len(self._numbers)) if len(flat) else ():
            self._add_chunk(stream, chunk, scale.mantissa)

    def add_all(self, stream: int, tensors: Iterable[Tensor], scale: Scale = UNSCALED) -> None:
        """Count the numbers of several tensors as one stream."""
        for tensor in tensors:
            self.add(stream, tensor, scale)

    def read(self) -> list[Tally]:
        """Return the counts of every stream."""
        rows = zip(self._counts.tolist(), self._non_zero.tolist(), self._largest.tolist(), strict=True)
        return [
            tally(counts, zeros=sum(counts) - non_zero, largest=largest) for counts, (non_zero,), (largest,) in rows
        ]

    def _add_chunk(self, stream: int, chunk: Tensor, mantissa: int) -> None:
        bits = magnitude_bits(self._numbers[: len(chunk)].copy_(chunk))
        bins = bins_of(bits, mantissa, out=self._bins[: len(chunk)])
        self._counts[stream] += torch.bincount(bins, minlength=BINS)
        self._non_zero[stream] += torch.count_nonzero(bits)
        self._largest[stream] = torch.maximum(self._largest[stream], move_finite_up(bits).max())


def magnitude_bits(numbers: Tensor) -> Tensor:
    """Return the bits of fp32 numbers (any shape) without the sign, int32, in their place.

    As integers these have the order of the magnitudes, nan above infinity.
    """
    return numbers.view(torch.int32).bitwise_and_(_MAGNITUDE)


def bins_of(bits: Tensor, mantissa: int, out: Tensor | None = None) -> Tensor:
    """Return the bin, 0 to 511, of each number.

    Args:
        bits: from `magnitude_bits`, int32, any shape.
        mantissa: of the scale, 0 to 2^23 - 1.
        out: int32, of the shape of `bits`, for the result.
    """
    bins = torch.bitwise_right_shift(bits, _MANTISSA_BITS - 1, out=out)  # the exponent, and one bit of the mantissa
    bins.bitwise_or_(1)  # that bit set: the upper bin of the exponent
    if mantissa:
        bins.add_((bits & _MANTISSA) < mantissa, alpha=-1)
    return bins


def move_finite_up(bits: Tensor) -> Tensor:
    """Make the maximum of the bits that of the finite numbers alone, in their place; `tally` undoes it.

    Less the bits of infinity, finite numbers are negative, and infinity and nan are not. Without the sign bit a
    negative integer becomes large and keeps its order, so the finite numbers are then above the others.
    """
    return bits.sub_(_INFINITY).bitwise_and_(_MAGNITUDE)


@dataclass(frozen=True)
class Tally:
    """What one stream of numbers was like, as computed (scaled, where it was).

    Attributes:
        counts: 512 bins. Bin 2e+1 counts numbers whose stored exponent is e and whose mantissa is at least that of
            the scale, bin 2e those with a smaller one.
        non_zero: numbers that are not exactly zero, nan and infinities among them.
        largest: the largest finite magnitude.
    """

    counts: tuple[int, ...]
    non_zero: int
    largest: float

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def zeros(self) -> int:
        return self.total - self.non_zero

    @property
    def non_finite(self) -> int:
        return sum(self.counts[-2:])

    @property
    def subnormal(self) -> int:
        """Numbers that fp16 keeps with less detail, or not at all: not zero, and below 2⁻¹⁴."""
        return sum(self.counts[: 2 * (FP16.smallest_normal + _BIAS)]) - self.zeros

    def share(self, count: int) -> float:
        """Return `count` as a part of all, nan where there are none."""
        return count / self.total if self.total else math.nan

    def histogram(self, scale: Scale = UNSCALED) -> Histogram:
        """Return the histogram of the numbers divided by `scale`, the one that they were added with.

        Numbers below 2⁻¹²⁶ as computed, fp32's own subnormals, stand in the one bin below that.
        """
        # The upper bin of one exponent and the lower bin of the next are the same power of two once the scale is gone.
        lower, upper = self.counts[:-2:2], self.counts[1:-2:2]
        by_power = [below + above for below, above in zip((0, *upper), (*lower, 0), strict=True)]
        by_power[:2] = [0, by_power[0] + by_power[1] - self.zeros]
        filled = [index for index, count in enumerate(by_power) if count]
        first, last = (filled[0], filled[-1] + 1) if filled else (0, 0)
        return Histogram(
            first=first - _BIAS - 1 - scale.power,
            counts=tuple(by_power[first:last]),
            zeros=self.zeros,
            non_finite=self.non_finite,
        )


def tally(counts: Sequence[int], *, zeros: int, largest: int) -> Tally:
    """Return the tally of a stream.

    Args:
        counts: 512 bins, the zeros among them; `zeros`: how many these are.
        largest: the maximum after `move_finite_up`, 0 where there was none.
    """
    bits = max(largest + _INFINITY - _MAGNITUDE - 1, 0)
    return Tally(tuple(counts), sum(counts) - zeros, _as_float(bits))


def together(tallies: list[Tally]) -> Tally:
    """Return the tally of all numbers of several streams."""
    counts = tuple(map(sum, zip(*(tally.counts for tally in tallies), strict=True))) or (0,) * BINS
    largest = max((tally.largest for tally in tallies), default=0.0)
    return Tally(counts, sum(tally.non_zero for tally in tallies), largest)


def _as_float(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<i", bits))[0]
    return value
