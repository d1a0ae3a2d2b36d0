"""Numbers as the window writes them: short, exact enough, and honest about what is not a number."""

from __future__ import annotations

import math

NONE = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 4) -> str:
    """Return a value with so many significant digits; None is a dash, and NaN and infinity are named."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return _named(value)
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e7:
        return scientific(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def brief(value: float) -> str:
    """Return a value with at most three significant digits and no zeros at the end: 0.001, 23, 4.2e-5."""
    if not math.isfinite(value):
        return _named(value)
    return f"{value:,.3g}" if value == 0 or 1e-3 <= abs(value) < 1e3 else number(value, 3)


def scientific(value: float, digits: int = 3) -> str:
    """Return a value as people type it in a configuration: 2e-4, 1.5e-5."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def whole(value: float | None) -> str:
    """Return a count or a speed without decimals, thousands separated."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if math.isfinite(value) else _named(value)


def signed(value: float, digits: int = 3) -> str:
    """Return a change with its sign, a real minus among them."""
    return f"{'−' if value < 0 else '+'}{number(abs(value), digits)}"


def power_of_two(exponent: int) -> str:
    """Return 2 to a power in the way it is written by hand: 2¹⁶."""
    return f"2{str(exponent).translate(_SUPERSCRIPTS)}"


def scale(value: float | None) -> str:
    """Return a gradient scale; one that is a power of two says so: 65,536 (2¹⁶)."""
    if value is None or not math.isfinite(value) or value <= 0:
        return number(value)
    exponent = math.log2(value)
    plain = f"{value:,.0f}" if 1 <= value < 1e7 and value == round(value) else scientific(value)
    return f"{plain} ({power_of_two(round(exponent))})" if exponent == round(exponent) else plain


def _named(value: float) -> str:
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
