"""Counting on a GPU, where launching a kernel takes longer than what most of them do.

A sample of a model is a thousand tensors, many of them small for a GPU. Counted one by one they cost some eighteen
kernels each, and a sample of a small model took longer than its training step. Here the numbers are gathered in a
buffer, a few tensors at a time, and a buffer is counted as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.engine.numerics import statistics
from studio.engine.numerics.statistics import BINS, UNSCALED, Scale, Tally

ROOM = 1 << 22  # numbers in the buffer: 16 MB
# Tensors in the buffer: a histogram of so many times 513 bins still fits where a GPU counts fast.
SEGMENTS = 8
# Zeros have a bin of their own, behind the others.
_WIDTH = BINS + 1


@dataclass
class _Segment:
    """Numbers of one stream, from `begin` to `end` in the buffer."""

    stream: int
    begin: int
    end: int


@dataclass(frozen=True)
class _Counted:
    """What was found in one buffer, still on the device: (segments, 513) counts, and (segments,) bits of the largest.

    Attributes:
        zero_bin: the bin that zeros belong to as well.
    """

    streams: list[int]
    counts: Tensor
    largest: Tensor
    zero_bin: int


class GpuTallies:
    """Counts of several streams of numbers; only `read` waits for the device."""

    def __init__(self, streams: int, device: torch.device, room: int = ROOM) -> None:
        self._streams = streams
        self._numbers = torch.empty(room, dtype=torch.float32, device=device)
        self._mantissa = 0
        self._segments: list[_Segment] = []
        self._waiting: list[tuple[Tensor, Tensor]] = []  # a place in the buffer, and what goes there
        self._counted: list[_Counted] = []

    def add(self, stream: int, numbers: Tensor, scale: Scale = UNSCALED) -> None:
        """Count `numbers` (any shape and floating-point format), which were multiplied by `scale`."""
        self.add_all(stream, [numbers], scale)

    def add_all(self, stream: int, tensors: Iterable[Tensor], scale: Scale = UNSCALED) -> None:
        """Count the numbers of several tensors as one stream. Nothing is kept of them but what the buffer holds."""
        if scale.mantissa != self._mantissa:
            self._count_buffer()
            self._mantissa = scale.mantissa
        for tensor in tensors:
            rest = tensor.detach().reshape(-1)
            while len(rest):
                place = self._reserve(stream, len(rest))
                self._waiting.append((place, rest[: len(place)]))
                rest = rest[len(place) :]
        self._gather()

    def read(self) -> list[Tally]:
        """Return the counts of every stream: the one synchronisation with the device."""
        self._count_buffer()
        counts = torch.zeros((self._streams, _WIDTH), dtype=torch.int64)
        largest = torch.zeros(self._streams, dtype=torch.int64)
        if self._counted:
            packed = torch.cat([torch.cat([one.counts, one.largest[:, None]], 1) for one in self._counted]).cpu().long()
            streams = torch.tensor([stream for one in self._counted for stream in one.streams])
            zero_bins = torch.tensor([one.zero_bin for one in self._counted for _ in one.streams])
            found = packed[:, :_WIDTH]
            found[torch.arange(len(found)), zero_bins] += found[:, BINS]
            counts.index_add_(0, streams, found)
            largest.scatter_reduce_(0, streams, packed[:, _WIDTH], "amax")
        return [
            statistics.tally(row[:BINS], zeros=row[BINS], largest=bits)
            for row, bits in zip(counts.tolist(), largest.tolist(), strict=True)
        ]

    def _reserve(self, stream: int, wanted: int) -> Tensor:
        """Return a place in the buffer for so many numbers of a stream, or for as many as there is room."""
        continues = bool(self._segments) and self._segments[-1].stream == stream
        if self._filled == len(self._numbers) or (len(self._segments) == SEGMENTS and not continues):
            self._count_buffer()
            continues = False
        begin = self._filled
        end = min(begin + wanted, len(self._numbers))
        if continues:
            self._segments[-1].end = end
        else:
            self._segments.append(_Segment(stream, begin, end))
        return self._numbers[begin:end]

    @property
    def _filled(self) -> int:
        return self._segments[-1].end if self._segments else 0

    def _gather(self) -> None:
        """Copy what waits into its places, in one go."""
        if self._waiting:
            places, numbers = zip(*self._waiting, strict=True)
            torch._foreach_copy_(list(places), list(numbers))
            self._waiting = []

    def _count_buffer(self) -> None:
        self._gather()
        if not self._segments:
            return
        bits = statistics.magnitude_bits(self._numbers[: self._filled])
        # Each segment gets a range of 513 bins of its own, so that one histogram counts all of them.
        bins = statistics.bins_of(bits, self._mantissa).masked_fill_(bits == 0, BINS)
        for number, segment in enumerate(self._segments[1:], start=1):
            bins[segment.begin : segment.end] += number * _WIDTH
        finite = statistics.move_finite_up(bits)
        self._counted.append(
            _Counted(
                streams=[segment.stream for segment in self._segments],
                counts=_count(bins, len(self._segments) * _WIDTH).view(-1, _WIDTH),
                largest=torch.stack(torch._foreach_max([finite[s.begin : s.end] for s in self._segments])),
                zero_bin=0 if self._mantissa else 1,
            )
        )
        self._segments = []


def _count(bins: Tensor, size: int) -> Tensor:
    """Count int32 numbers from 0 to below `size`, int32."""
    if bins.device.type == "cuda":
        return torch.histc(bins, size, 0, size).to(torch.int32)  # bincount would ask the device for the largest
    return torch.bincount(bins, minlength=size).to(torch.int32)
