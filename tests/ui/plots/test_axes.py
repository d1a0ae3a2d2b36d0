"""Ticks stand at round values, far enough apart, and say them in the terms of their axis."""

from __future__ import annotations

import math

import pytest

from studio.ui.plots.axes import Log2Axis, Log10Axis, StepAxis, ValueAxis, round_up


@pytest.mark.parametrize(("value", "rounded"), [(0.3, 0.5), (1.0, 1.0), (7.0, 10.0), (12.0, 20.0), (0.0, 1.0)])
def test_distances_are_one_two_or_five_times_a_power_of_ten(value: float, rounded: float) -> None:
    assert round_up(value) == pytest.approx(rounded)


def test_steps_are_whole_numbers_at_every_zoom() -> None:
    axis = StepAxis()
    for width in (4, 5, 30, 1e6):
        _, values = axis.tickValues(0.0, width, 600)[0]
        assert all(value == round(value) for value in values)


def test_the_scale_axis_names_powers_of_two_and_their_value() -> None:
    assert Log2Axis().tickStrings([16.0, 20.0, 126.0, 0.0], 1.0, 1.0) == [
        "2¹⁶ (65,536)", "2²⁰ (1.05e6)", "2¹²⁶ (8.51e37)", "2⁰ (1)",
    ]  # fmt: skip


@pytest.mark.parametrize("span", [0.5, 3.0, 30.0, 120.0])
def test_scale_ticks_are_whole_powers_of_two(span: float) -> None:
    spacing, values = Log2Axis().tickValues(3.2, 3.2 + span, 200)[0]
    assert spacing is not None
    assert math.log2(spacing) == round(math.log2(spacing))
    assert all(value == round(value) for value in values)


@pytest.mark.parametrize(("low", "high"), [(-0.3, 0.4), (-1.0, 0.2), (-3.0, 2.0), (-20.0, 30.0), (0.301, 0.302)])
def test_a_log_axis_has_some_ticks_whatever_is_in_view(low: float, high: float) -> None:
    axis = Log10Axis()
    values = [value for _, level in axis.tickValues(low, high, 200) for value in level]
    assert 1 <= len(values) <= 12
    assert all(low <= value <= high for value in values)
    assert len(set(axis.tickStrings(values, 1.0, 1.0))) == len(values)


def test_small_values_are_written_as_people_type_them() -> None:
    assert ValueAxis().tickStrings([0.0, 1e-4, 2e-4], 1.0, 1e-4) == ["0", "1e-4", "2e-4"]


def test_no_tick_stands_where_its_label_would_be_cut_off() -> None:
    axis = ValueAxis()
    _, values = axis.tickValues(0.0, 10.0, 100)[0]
    assert values
    assert 0.0 not in values
    assert 10.0 not in values


@pytest.mark.parametrize("spacing", [1e-4, 5e-6, 2e-9, 1e-3, 0.5, 20.0])
def test_ticks_never_repeat(spacing: float) -> None:
    values = [1e-4 + spacing * count for count in range(4)]
    labels = ValueAxis().tickStrings(values, 1.0, spacing)
    assert len(set(labels)) == len(values)
    powers = [math.log10(value) for value in values]
    assert len(set(Log10Axis().tickStrings(powers, 1.0, spacing))) == len(values)


def test_zero_alone_is_written_as_zero() -> None:
    assert ValueAxis().tickStrings([0.0], 1.0, 1e-4) == ["0"]
