"""Numbers on screen are short, exact enough, and say when they are none."""

from __future__ import annotations

import math

import pytest

from studio.text import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0"), (1.23456, "1.235"), (123.456, "123.5"), (2e-4, "2e-4"), (1.5e-5, "1.5e-5"),
        (8.5e37, "8.5e37"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (-0.5, "-0.5000"),
    ],
)  # fmt: skip
def test_a_number_has_four_significant_digits_and_names_what_is_none(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(65536.0, "65,536 (2¹⁶)"), (1.0, "1 (2⁰)"), (0.5, "5e-1 (2⁻¹)"), (1000.0, "1,000"), (1e38, "1e38"), (0.0, "0")],
)
def test_a_scale_that_is_a_power_of_two_says_which(value: float, text: str) -> None:
    assert numbers.scale(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.001, "0.001"), (23.0, "23"), (4.2e-5, "4.2e-5"), (0.0, "0"), (math.nan, "NaN")]
)
def test_a_brief_number_has_no_zeros_at_its_end(value: float, text: str) -> None:
    assert numbers.brief(value) == text


def test_a_change_has_its_sign() -> None:
    assert numbers.signed(-1.168) == "−1.17"
    assert numbers.signed(0.5) == "+0.500"
