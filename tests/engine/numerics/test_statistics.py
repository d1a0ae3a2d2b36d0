"""Counts agree with the plain definition, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.engine.numerics.gpu_tally import GpuTallies
from studio.engine.numerics.lost_updates import LostUpdates
from studio.engine.numerics.statistics import UNSCALED, CpuTallies, Scale, Tally, together

FORMATS = [torch.float16, torch.bfloat16, torch.float32]
SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 2.0**-14, -(2.0**-14), 2.0**-24, 3 * 2.0**-24, 1.0, -1.5, 65504.0]


def _numbers(dtype: torch.dtype, count: int = 5000) -> Tensor:
    """Numbers spread over many powers of two, fp16's subnormals and what is no number among them."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(count, generator=generator) * 2.0 ** torch.randint(-30, 15, (count,), generator=generator)
    return torch.cat([spread, torch.tensor(SPECIAL)]).to(dtype)


def _make(streams: int) -> list[CpuTallies | GpuTallies]:
    """Both ways of counting; the one for GPUs with a buffer that is soon full."""
    return [CpuTallies(streams), GpuTallies(streams, torch.device("cpu"), room=700)]


def _tally(numbers: Tensor, scale: Scale = UNSCALED) -> Tally:
    found = []
    for tallies in _make(2):
        tallies.add(1, numbers, scale)
        found.append(tallies.read()[1])
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("dtype", FORMATS)
def test_zeros_subnormals_non_finite_and_the_largest_are_those_of_the_definition(dtype: torch.dtype) -> None:
    numbers = _numbers(dtype)
    exact = numbers.double().numpy()
    tally = _tally(numbers)
    assert tally.total == exact.size
    assert tally.zeros == (exact == 0).sum()
    assert tally.subnormal == ((np.abs(exact) < 2.0**-14) & (exact != 0)).sum()
    assert tally.non_finite == (~np.isfinite(exact)).sum()
    assert tally.largest == np.abs(exact[np.isfinite(exact)]).max()


@pytest.mark.parametrize("scale", [1.0, 65536.0, 2.0**-3, 1000.0, 0.7, 1e38])
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_histogram_of_unscaled_numbers_is_that_of_the_definition(dtype: torch.dtype, scale: float) -> None:
    numbers = _numbers(dtype)
    histogram = _tally(numbers, Scale(scale)).histogram(Scale(scale))
    exact = np.abs(numbers.double().numpy()) / float(np.float32(scale))
    _, powers = np.frexp(exact[np.isfinite(exact) & (exact > 0)])
    expected = {int(power) - 1: int(count) for power, count in zip(*np.unique(powers, return_counts=True), strict=True)}
    assert {histogram.first + place: count for place, count in enumerate(histogram.counts) if count} == expected
    assert histogram.total == numbers.numel()
    assert (histogram.zeros, histogram.non_finite) == (int((exact == 0).sum()), int((~np.isfinite(exact)).sum()))


def test_numbers_below_the_normal_range_of_fp32_are_counted_and_are_not_zeros() -> None:
    tally = _tally(torch.tensor([0.0, 2.0**-149, 2.0**-127, 2.0**-126]))
    assert (tally.zeros, tally.subnormal) == (1, 3)
    histogram = tally.histogram()
    assert (histogram.first, histogram.counts) == (-127, (2, 1))


def test_nothing_but_nan_has_no_largest_and_nothing_at_all_has_no_share() -> None:
    broken = _tally(torch.full((3,), math.nan))
    assert (broken.largest, broken.non_finite, broken.histogram().counts) == (0.0, 3, ())
    empty = _tally(torch.empty(0))
    assert empty.total == 0
    assert math.isnan(empty.share(empty.zeros))


def test_large_and_strided_tensors_are_counted_whole() -> None:
    numbers = torch.randn(1300, 601, generator=torch.Generator().manual_seed(0)).half()
    numbers[:, ::7] = 0.0
    assert _tally(numbers.t()) == _tally(numbers)
    assert _tally(numbers).total == numbers.numel()
    assert _tally(numbers).zeros == int((numbers == 0).sum())


def test_streams_are_kept_apart_and_can_be_put_together() -> None:
    for tallies in _make(3):
        tallies.add(0, torch.tensor([1.0, 0.0]))
        tallies.add(2, torch.tensor([4.0]))
        tallies.add(2, torch.tensor([math.inf, 3.0]))
        one, none, three = tallies.read()
        assert (one.total, none.total, three.total) == (2, 0, 3)
        both = together([one, none, three])
        assert (both.total, both.zeros, both.non_finite, both.largest) == (5, 1, 1, 4.0)


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_count_a_whole_look_alike(seed: int) -> None:
    """Many tensors of several streams, formats and scales, in any order."""
    generator = torch.Generator().manual_seed(seed)

    def draw(most: int) -> int:
        return int(torch.randint(most, (1,), generator=generator))

    direct, staged = _make(9)
    for _ in range(60):
        stream, scale = draw(9), Scale((1.0, 1024.0, 1000.0)[draw(3)])
        tensors = [_numbers(FORMATS[draw(3)], draw(900))[draw(12) :] for _ in range(draw(4))]
        direct.add_all(stream, tensors, scale)
        staged.add_all(stream, tensors, scale)
    assert direct.read() == staged.read()


def _lost(weights: Tensor, gradient: Tensor, rate: float) -> float | None:
    parameter = torch.nn.Parameter(weights)
    parameter.grad = gradient.to(weights)
    with LostUpdates([parameter]) as lost:
        torch.optim.SGD([parameter], lr=rate).step()
    return lost.share


def test_an_update_that_bf16_rounds_away_is_lost_and_one_without_a_gradient_was_never_meant() -> None:
    ones, gradient = torch.ones(1000), torch.ones(1000)
    gradient[::2] = 0.0
    assert _lost(ones.bfloat16(), gradient, 1e-3) == 1.0
    assert _lost(ones.clone(), gradient, 1e-3) == 0.0
    assert _lost(ones.clone(), torch.zeros(1000), 1e-3) is None


def test_a_share_of_lost_updates_is_estimated_from_part_of_many_weights() -> None:
    weights = torch.ones(2048, 2048, dtype=torch.bfloat16)
    weights[:, :512] = 1e-3  # fine enough there to follow
    assert _lost(weights, torch.ones(2048, 2048), 1e-3) == pytest.approx(0.75, abs=0.01)
