"""A plot never hides a point that stands out."""

from __future__ import annotations

import numpy as np
import pytest

from studio.runner.series import MetricSeries


def _series(values: np.ndarray) -> MetricSeries:
    series = MetricSeries()
    for x, y in enumerate(values):
        series.append(x, y)
    return series


@pytest.mark.parametrize("span", [100_000, 30_000, 3_000, 300])
def test_a_spike_of_one_step_survives_at_every_zoom(span: int) -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    values[5_000], values[5_001] = 60.0, -60.0
    first = 5_000 - span // 20
    x, y = _series(values).reduced(first, first + span, 800)
    assert len(x) <= 1_602
    assert 60.0 in y
    assert -60.0 in y
    assert x[y == 60.0] == 5_000


def test_points_stay_in_order_and_are_points_of_the_series() -> None:
    values = np.random.default_rng(1).normal(size=10_000)
    x, y = _series(values).reduced(0, 10_000, 300)
    assert np.all(np.diff(x) > 0)
    assert np.array_equal(values[x.astype(int)], y)


def test_non_finite_points_are_reported_and_not_drawn_over() -> None:
    values = np.ones(100_000)
    values[[7, 5_000, 99_999]] = np.nan, np.inf, -np.inf
    series = _series(values)
    assert series.non_finite(0, 100_000).tolist() == [7, 5_000, 99_999]
    assert np.isfinite(series.reduced(0, 100_000, 500)[1]).all()
    assert np.isnan(series.y[7])


def test_pixels_whose_values_are_all_non_finite_are_left_out() -> None:
    values = np.full(10_000, np.nan)
    values[0] = 1.0
    x, _ = _series(values).reduced(0, 10_000, 100)
    assert x.tolist() == [0.0]


def test_smoothing_is_the_mean_of_the_last_finite_values() -> None:
    smooth = _series(np.array([1.0, np.nan, 3.0, 5.0])).smoothed(2)
    assert smooth.x.tolist() == [0.0, 2.0, 3.0]
    assert smooth.y.tolist() == [1.0, 2.0, 4.0]


def test_an_empty_series_draws_nothing() -> None:
    assert MetricSeries().reduced(0, 1, 10)[0].size == 0
    assert MetricSeries().last is None


@pytest.mark.parametrize("x", [[2, 3, 5], [3, 3, 4], [2], []], ids=str)
def test_points_added_together_are_those_added_one_by_one(x: list[int]) -> None:
    y = [float(place) for place in range(len(x))]
    together, one_by_one = _series(np.ones(3)), _series(np.ones(3))
    together.extend(x, y)
    for point in zip(x, y, strict=True):
        one_by_one.append(*point)
    assert together.x.tolist() == one_by_one.x.tolist() == sorted({0, 1, 2, *x})
    assert together.y.tolist() == one_by_one.y.tolist()
