"""What the plots of the numerics draw, computed from a run's record: modules over steps, headroom, the best scales."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Literal, TypeAlias

import numpy as np

from studio.engine.numerics.flushed import lost_gradients
from studio.errors import ConfigError
from studio.events import NumericsSampled
from studio.exponents import FP16, Format, Histogram
from studio.runner.record import RunRecord
from studio.runner.series import Array, MetricSeries

Direction: TypeAlias = Literal["gradient", "activation"]
Statistic: TypeAlias = Literal["largest", "zeros", "subnormal", "non_finite"]
# Scales are equally good when their shares of lost gradients differ by no more than this: 0.1 percentage points.
AS_GOOD = 1e-3
# `NumericsSampled.because` of a sample that was taken because its step was skipped.
SKIP = "skip"
# Newest samples that are searched for regular ones. A few are among them even where most steps are skipped.
LOOKED_BACK = 64
_step_of = attrgetter("step")


class ModuleMatrix:
    """One statistic of every module in every sample; it grows with the samples.

    `values` has the shape (samples, modules): the largest absolute value **as computed** (gradients times the loss
    scale), or a share. inf stands where an entry was not finite, nan where a module saw nothing.
    `begins` and `of` say which sample stands for a step (see `sample_at`): from step `begins[i]` until `begins[i + 1]`
    it is sample `of[i]`, where -1 is none.
    """

    def __init__(self, direction: Direction, statistic: Statistic) -> None:
        self.direction, self.statistic = direction, statistic
        self.begins: list[int] = []
        self.of: list[int] = []
        self._steps = np.empty(0)
        self._values = np.empty((0, 0))
        self._length = 0
        self._regular = -1

    def __len__(self) -> int:
        return self._length

    @property
    def steps(self) -> Array:
        """The sampled steps, ascending, shape (samples,). A view: do not change it."""
        return self._steps[: self._length]

    @property
    def values(self) -> Array:
        """Shape (samples, modules). A view: do not change it."""
        return self._values[: self._length]

    def grow(self, samples: Sequence[NumericsSampled]) -> None:
        """Add the samples that are new."""
        for sample in samples[self._length :]:
            row = self._row(sample)
            if self._length == len(self._steps):
                self._make_room(len(row))
            self._steps[self._length] = sample.step
            self._values[self._length] = row
            self._hold(sample)
            self._length += 1

    def series(self, module: int) -> MetricSeries:
        """Return the history of one module; samples in which it saw nothing are left out."""
        result = MetricSeries()
        for step, value in zip(self.steps, self.values[:, module], strict=True):
            if not math.isnan(value):
                result.append(step, value)
        return result

    def _hold(self, sample: NumericsSampled) -> None:
        if self.begins and self.begins[-1] == sample.step:
            self.begins.pop()
            self.of.pop()
        self.begins.append(sample.step)
        self.of.append(self._length)
        if sample.because == SKIP:
            self.begins.append(sample.step + 1)
            self.of.append(self._regular)
        else:
            self._regular = self._length

    def _row(self, sample: NumericsSampled) -> Array:
        row = np.array(getattr(sample, f"{self.direction}_{self.statistic}"), dtype=np.float64)
        if self.statistic == "largest" and self.direction == "gradient":
            row = row * (sample.grad_scale or 1.0)
        return np.where(np.array(getattr(sample, f"{self.direction}_non_finite")) > 0, np.inf, row)

    def _make_room(self, modules: int) -> None:
        room = max(64, 2 * self._length)
        steps, values = np.empty(room), np.empty((room, modules))
        if self._length:
            steps[: self._length], values[: self._length] = self.steps, self.values
        self._steps, self._values = steps, values


def sample_at(samples: Sequence[NumericsSampled], step: int | None) -> NumericsSampled | None:
    """Return the sample that stands for a step; None asks for the newest of all.

    A regular sample stands for its step and those after it, until the next one. The sample of a skip stands for that
    one step alone: what overflowed there says nothing about its neighbours. Before the first sample, it is the first.
    """
    if not samples or step is None:
        return samples[-1] if samples else None
    place = max(0, bisect_right(samples, step, key=_step_of) - 1)
    while place > 0 and samples[place].because == SKIP and samples[place].step != step:
        place -= 1
    return samples[place]


def largest_product(sample: NumericsSampled) -> float:
    """Return the largest |gradient| that a matrix product computed, unscaled; fp16's limit where one overflowed.

    It is nan where gradients overflowed and activations were not finite: no loss scale can help there. Infinite
    activations in a step without overflow do no harm.
    """
    if not _overflowed(sample):
        return sample.products_largest
    if any(share > 0 for share in sample.activation_non_finite):
        return math.nan
    return max(sample.products_largest, FP16.overflow / (sample.grad_scale or 1.0))


def _overflowed(sample: NumericsSampled) -> bool:
    return any(share > 0 for share in sample.gradient_non_finite) or sample.parameters.get("non_finite", 0) > 0


def headroom(sample: NumericsSampled, fmt: Format = FP16) -> float:
    """Return how many times the loss scale can double before the largest recorded gradient overflows in `fmt`.

    Not rounded; -inf if a gradient was not finite, nan without gradients.
    """
    if _overflowed(sample):
        return -math.inf
    largest = largest_product(sample) * (sample.grad_scale or 1.0)
    return math.inf if largest == 0 else math.log2(fmt.largest / largest)


def share_lost(sample: NumericsSampled, compute: str) -> float | None:
    """Return the share of the weights' non-zero gradients that fp16 flushes to zero; None where nothing was recorded.

    A run that computes in fp16 (`compute`) has lost them before they are recorded, so `lost_gradients` estimates their
    number. In other runs the recorded numbers themselves show what fp16 would flush.
    """
    if compute == FP16.name:
        lost = lost_gradients(sample)
        return lost.share if lost else None
    histogram = Histogram.from_dict(sample.parameters)
    return dataclasses.replace(histogram, zeros=0).shares(1.0).zero if histogram.total else None


def best_scales(histogram: Histogram, largest: float, fmt: Format = FP16) -> tuple[int, int] | None:
    """Return the exponents of the smallest and the largest power of two that scale these numbers best in `fmt`.

    Best means: no product overflows, for one is enough to skip a step, and the share that is flushed to zero is within
    `AS_GOOD` of the least. `largest` is the largest of the products (`largest_product`), which need not be among the
    numbers. None when there are no finite numbers other than zero.
    """
    if not any(histogram.counts) or not 0.0 < largest < math.inf:
        return None
    high = math.floor(math.log2(fmt.largest / largest))
    least = histogram.shares(2.0**high, fmt).zero
    low = high
    while histogram.shares(2.0 ** (low - 1), fmt).zero <= least + AS_GOOD and low > high - 300:
        low -= 1
    return low, high


def sampling_interval(record: RunRecord) -> int:
    """Return the present number of steps between two regular samples; it doubles when a run has grown long.

    Samples of skipped steps are no regular ones; few of them lie on the grid of the first interval.
    """
    assert record.numerics is not None
    every = record.numerics.every
    newest = record.samples[max(record.first_sample, len(record.samples) - LOOKED_BACK) :]
    regular = [one.step for one in newest if one.because != SKIP and (one.step - 1) % every == 0]
    return max((later - one for one, later in pairwise(regular[-4:])), default=every)


def scale_growths(scale: MetricSeries) -> Array:
    """Return the steps that were the first with a larger scale than the step before."""
    steps: Array = scale.x[1:][np.diff(scale.y) > 0]
    return steps


def floor_steps(record: RunRecord) -> Array:
    """Return the steps whose gradients overflowed while a dynamic scale was at its floor.

    Steps whose loss was not finite are left out, because the scale is not lowered after them.
    """
    scale = record.series["grad_scale"]
    at_floor = scale.x[scale.y <= _floors(record, scale.x)]
    overflowed = np.setdiff1d(record.skips, record.series["loss"].non_finite(-math.inf, math.inf))
    steps: Array = at_floor[np.isin(at_floor, overflowed)]
    return steps


def _floors(record: RunRecord, steps: Array) -> Array:
    """The lowest scale that is allowed at each step; nan where the scale is static, or that is not known."""
    floors = np.full(len(steps), np.nan)
    try:
        configs = record.configs
    except ConfigError:
        configs = ()
    for before, config in configs:
        dynamic = config.precision.loss_scaling == "dynamic"
        floors[steps > before] = config.precision.minimum_scale if dynamic else np.nan
    return floors


def recorded_scale(record: RunRecord, sample: NumericsSampled) -> float | None:
    """Return the loss scale of a sample; 1 where fp16 went without, None where another format needs none."""
    unscaled = 1.0 if record.compute_at(sample.step) == FP16.name else None
    return unscaled if sample.grad_scale is None else sample.grad_scale
