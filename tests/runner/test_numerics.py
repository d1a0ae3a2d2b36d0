"""What is derived from the samples agrees with counting the numbers themselves."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from studio.events import NumericsSampled, NumericsStarted, RunResumed
from studio.exponents import BF16, Histogram
from studio.runner.numerics import (
    AS_GOOD,
    ModuleMatrix,
    best_scales,
    floor_steps,
    headroom,
    largest_product,
    recorded_scale,
    sample_at,
    sampling_interval,
    scale_growths,
    share_lost,
)
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.runs import create_run
from tests.ui.plots.conftest import step_event


def sample(step: int = 1, **changes: object) -> NumericsSampled:
    """Two modules: the first saw a gradient of 0.5, through the second none flowed."""
    values: dict[str, object] = {
        "step": step, "grad_scale": None, "because": "cadence",
        "activation_largest": [3.0, 7.0], "activation_zeros": [0.0, 0.1], "activation_subnormal": [0.0, 0.0],
        "activation_non_finite": [0.0, 0.0],
        "gradient_largest": [0.5, math.nan], "gradient_zeros": [0.25, math.nan],
        "gradient_subnormal": [0.0, math.nan], "gradient_non_finite": [0.0, math.nan],
        "products_largest": 0.5,
        "parameters": histogram_of(np.array([0.01])).to_dict(), "gradients": histogram_of(np.array([0.5])).to_dict(),
    }  # fmt: skip
    return NumericsSampled(**(values | changes))  # type: ignore[arg-type]


def histogram_of(numbers: np.ndarray) -> Histogram:
    """Count numbers by their exponent, as the engine does."""
    finite = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    exponents = np.floor(np.log2(finite)).astype(int)
    first = int(exponents.min()) if len(exponents) else 0
    return Histogram(
        first=first,
        counts=tuple(int(n) for n in np.bincount(exponents - first)) if len(exponents) else (),
        zeros=int((numbers == 0).sum()),
        non_finite=int((~np.isfinite(numbers)).sum()),
    )


def series(*values: float) -> MetricSeries:
    result = MetricSeries()
    for step, value in enumerate(values, start=1):
        result.append(step, value)
    return result


def test_gradients_are_shown_as_computed_and_activations_as_they_are() -> None:
    gradients, activations = ModuleMatrix("gradient", "largest"), ModuleMatrix("activation", "largest")
    for matrix in (gradients, activations):
        matrix.grow([sample(1, grad_scale=1024.0)])
    np.testing.assert_array_equal(gradients.values, [[512.0, math.nan]])
    np.testing.assert_array_equal(activations.values, [[3.0, 7.0]])


def test_a_module_that_was_not_finite_is_infinite_in_every_statistic() -> None:
    matrix = ModuleMatrix("gradient", "zeros")
    matrix.grow([sample(1, gradient_non_finite=[0.01, math.nan])])
    assert matrix.values[0, 0] == math.inf


def test_a_matrix_grows_by_what_is_new_and_keeps_every_value() -> None:
    samples = [sample(step, gradient_largest=[float(step), 1.0]) for step in range(1, 300)]
    matrix = ModuleMatrix("gradient", "largest")
    for end in (1, 63, 64, 65, 299):
        matrix.grow(samples[:end])
    assert len(matrix) == 299
    assert list(matrix.steps) == list(range(1, 300))
    assert list(matrix.values[:, 0]) == [float(step) for step in range(1, 300)]


def test_the_history_of_a_module_leaves_out_what_it_did_not_see() -> None:
    matrix = ModuleMatrix("gradient", "largest")
    matrix.grow([sample(1), sample(21, gradient_largest=[1.0, 2.0], gradient_non_finite=[0.0, 0.0])])
    assert list(matrix.series(0).x) == [1, 21]
    assert list(matrix.series(1).x) == [21]


def test_a_skip_stands_for_its_own_step_and_a_regular_sample_until_the_next_one() -> None:
    samples = [sample(1), sample(21), sample(27, because="skip"), sample(41)]
    found = {step: sample_at(samples, step).step for step in (0, 1, 20, 21, 26, 27, 28, 40, 41, 99)}  # type: ignore[union-attr]
    assert found == {0: 1, 1: 1, 20: 1, 21: 21, 26: 21, 27: 27, 28: 21, 40: 21, 41: 41, 99: 41}
    matrix = ModuleMatrix("gradient", "largest")
    matrix.grow(samples)
    assert list(zip(matrix.begins, matrix.of, strict=True)) == [(1, 0), (21, 1), (27, 2), (28, 1), (41, 3)]


def test_after_a_skip_without_a_regular_sample_before_it_nothing_is_known() -> None:
    matrix = ModuleMatrix("gradient", "largest")
    matrix.grow([sample(1, because="skip"), sample(2, because="skip"), sample(21)])
    assert list(zip(matrix.begins, matrix.of, strict=True)) == [(1, 0), (2, 1), (3, -1), (21, 2)]


def test_the_newest_sample_is_meant_when_no_step_is_named() -> None:
    samples = [sample(1), sample(9, because="skip")]
    assert sample_at(samples, None) is samples[-1]
    assert sample_at([], 3) is None


@pytest.mark.parametrize("largest", [0.013, 1.0, 0.99999, 3e-5, 511.9])
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_headroom_is_the_doublings_that_fp16_itself_survives(largest: float, scale: float | None) -> None:
    seen = sample(grad_scale=scale, products_largest=largest)
    whole = math.floor(headroom(seen))
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float16(largest * (scale or 1.0) * 2.0**whole))
        assert np.isinf(np.float16(largest * (scale or 1.0) * 2.0 ** (whole + 1)))


def test_a_gradient_that_is_not_finite_has_no_headroom() -> None:
    assert headroom(sample(gradient_non_finite=[0.1, math.nan])) == -math.inf
    assert headroom(sample(parameters=histogram_of(np.array([math.inf, 1.0])).to_dict())) == -math.inf


def test_no_gradient_at_all_means_that_headroom_is_not_known() -> None:
    assert math.isnan(headroom(sample(products_largest=math.nan)))


def test_after_an_overflow_the_best_scales_lie_below_the_one_that_overflowed() -> None:
    seen = sample(grad_scale=1024.0, products_largest=3.0, gradient_non_finite=[0.1, 0.0])
    best = best_scales(histogram_of(np.array([1e-3, 3.0])), largest_product(seen))
    assert best is not None
    assert best[1] == 9


def test_no_scale_is_best_where_the_activations_overflowed() -> None:
    seen = sample(grad_scale=1024.0, activation_non_finite=[0.2, 0.0], gradient_non_finite=[0.9, 0.0])
    assert best_scales(histogram_of(np.array([1e-3, 3.0])), largest_product(seen)) is None
    assert headroom(seen) == -math.inf


def test_an_infinity_before_a_relu_does_not_hide_the_best_scale() -> None:
    seen = sample(grad_scale=1024.0, activation_non_finite=[0.2, 0.0])
    assert best_scales(histogram_of(np.array([1e-3, 0.5])), largest_product(seen)) is not None
    assert headroom(seen) == pytest.approx(math.log2(65504.0 / 512.0))


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_what_is_zero_by_nature_is_not_lost(scale: float) -> None:
    numbers = 2.0 ** np.random.default_rng(0).normal(-14.0, 3.0, 20_000)
    with np.errstate(under="ignore"):
        kept = (numbers * scale).astype(np.float16).astype(np.float64) / scale
    with_zeros = np.concatenate([kept, np.zeros(20_000)])
    really = float((kept == 0).mean())
    found = share_lost(sample(grad_scale=scale, parameters=histogram_of(with_zeros).to_dict()), "fp16")
    assert found == pytest.approx(really, abs=0.02)
    in_fp32 = histogram_of(np.concatenate([numbers, np.zeros(20_000)])).to_dict()
    foreseen = share_lost(sample(grad_scale=None, parameters=in_fp32), "fp32")
    assert foreseen == pytest.approx(float((numbers.astype(np.float16) == 0).mean()), abs=0.005)


def test_what_was_flushed_on_its_way_to_the_weights_is_lost_as_the_verdict_says() -> None:
    chance = np.random.default_rng(0)
    flowing = (2.0 ** chance.normal(-27.0, 2.0, 20_000)).astype(np.float16).astype(np.float64)
    weights = np.where(chance.random(20_000) < 0.5, 0.0, 2.0 ** chance.normal(-8.0, 2.0, 20_000))
    found = sample(
        grad_scale=1.0, parameters=histogram_of(weights).to_dict(), gradients=histogram_of(flowing).to_dict()
    )
    assert share_lost(found, "fp16") == pytest.approx(0.5, abs=0.01)
    fine = dataclasses.replace(found, gradients=histogram_of(2.0 ** chance.normal(-8.0, 2.0, 20_000)).to_dict())
    assert share_lost(fine, "fp16") == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("middle", [-30.0, -18.0, -6.0, 3.0])
def test_the_best_scales_lose_the_least_when_numbers_are_really_rounded(middle: float) -> None:
    numbers = 2.0 ** np.random.default_rng(0).normal(middle, 4.0, 20_000)
    best = best_scales(histogram_of(numbers), float(numbers.max()))
    assert best is not None
    lost = {}
    with np.errstate(over="ignore", under="ignore"):
        for exponent in range(-20, 60):
            rounded = (numbers * 2.0**exponent).astype(np.float16)
            lost[exponent] = float((rounded == 0).mean()), bool(np.isinf(rounded).any())
    low, high = best
    assert not any(lost[exponent][1] for exponent in range(low, high + 1))
    least = min(zero for zero, overflowed in lost.values() if not overflowed)
    assert all(lost[exponent][0] <= least + 2 * AS_GOOD for exponent in range(low, high + 1))
    assert lost[high + 1][1]


def test_bf16_needs_no_scale_and_zeros_alone_have_no_best_one() -> None:
    low, high = best_scales(histogram_of(2.0 ** np.arange(-40.0, 3.0)), 4.0, BF16) or (1, 0)
    assert low <= 0 <= high
    assert best_scales(Histogram(first=0, counts=(), zeros=10), 1.0) is None


def sampled(*steps: int, skips: tuple[int, ...] = ()) -> RunRecord:
    """A run that began with a sample every 10 steps."""
    record = RunRecord()
    record.apply(NumericsStarted(modules=["a", "b"], compute="fp16", every=10))
    for step in steps:
        record.apply(sample(step, because="skip" if step in skips else "cadence"))
    return record


@pytest.mark.parametrize(
    ("steps", "interval"),
    [
        ((), 10),
        ((1,), 10),
        ((1, 11, 21), 10),
        ((1, 11, 21, 41, 61), 20),
        ((1, 41, 44, 45, 81, 121), 40),  # a skip at 44 and a look after it
        ((1, 41, 50, 51, 81, 121), 40),  # the look after it lies on the first grid
    ],
)
def test_the_interval_is_the_distance_of_the_last_regular_samples(steps: tuple[int, ...], interval: int) -> None:
    assert sampling_interval(sampled(*steps, skips=(44, 50))) == interval


def test_a_run_that_went_on_with_another_model_begins_with_its_first_interval() -> None:
    record = sampled(1, 41, 81)
    record.apply(NumericsStarted(modules=["a", "b"], compute="bf16", every=10))
    assert sampling_interval(record) == 10
    for step in (91, 101):
        record.apply(sample(step))
    assert sampling_interval(record) == 10


def test_a_growth_is_the_first_step_with_a_larger_scale() -> None:
    assert list(scale_growths(series(4.0, 4.0, 8.0, 4.0, 4.0, 8.0))) == [3, 6]


def record_of(
    folder: Path, scales: list[float], skips: list[int], *, precision: str = "", nan: tuple[int, ...] = ()
) -> RunRecord:
    """A run with a configuration of its own, one step a scale; the losses of the steps in `nan` are none."""
    run = create_run(folder, "r", f'[model]\npath = "m"\n[[data.sources]]\npath = "d"\n[precision]\n{precision}\n')
    record = RunRecord(run)
    for step, scale in enumerate(scales, start=1):
        loss = math.nan if step in nan else 2.0
        record.apply(step_event(step, grad_scale=scale, skipped=step in skips, loss=loss))
    return record


def test_a_skip_at_the_floor_leaves_the_scale_as_it_is(tmp_path: Path) -> None:
    record = record_of(tmp_path, [4.0, 2.0, 1.0, 1.0, 1.0, 2.0], [1, 2, 3, 4])
    assert list(floor_steps(record)) == [3, 4]


def test_a_scale_that_begins_at_its_floor_is_there_from_the_first_skip(tmp_path: Path) -> None:
    record = record_of(tmp_path, [8.0, 8.0], [1, 2], precision="initial_scale = 8.0\nminimum_scale = 8.0")
    assert list(floor_steps(record)) == [1, 2]


def test_the_lowest_scale_so_far_is_no_floor(tmp_path: Path) -> None:
    assert not len(floor_steps(record_of(tmp_path, [8.0, 4.0, 4.0, 4.0], [1, 3])))


def test_a_loss_that_is_not_a_number_says_nothing_about_the_floor(tmp_path: Path) -> None:
    record = record_of(tmp_path, [2.0, 1.0, 1.0, 1.0], [1, 2, 3], nan=(3,))
    assert list(floor_steps(record)) == [2]


def test_a_static_scale_is_not_at_its_floor(tmp_path: Path) -> None:
    record = record_of(tmp_path, [1.0, 1.0, 1.0], [1, 2], precision='loss_scaling = "static"\ninitial_scale = 1.0')
    assert not len(floor_steps(record))


def test_the_floor_is_that_of_the_settings_of_the_step(tmp_path: Path) -> None:
    record = record_of(tmp_path, [8.0, 8.0], [1, 2])
    record.apply(RunResumed(step=2, changes={"precision.minimum_scale": 8.0}))
    record.apply(step_event(3, grad_scale=8.0, skipped=True))
    assert list(floor_steps(record)) == [3]


def test_fp16_without_scaling_was_recorded_at_scale_1() -> None:
    record = RunRecord()
    record.apply(NumericsStarted(modules=["a", "b"], compute="fp16", every=1))
    record.apply(step_event(1, grad_scale=None))
    assert recorded_scale(record, sample(1)) == 1.0
    record.apply(RunResumed(step=1, changes={"precision.name": "bf16-mixed"}))
    assert (recorded_scale(record, sample(1)), recorded_scale(record, sample(2))) == (1.0, None)
    assert recorded_scale(record, sample(1, grad_scale=64.0)) == 64.0
