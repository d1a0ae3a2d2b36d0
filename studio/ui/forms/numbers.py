"""Numbers as people type them, the same in every locale: 2e-4, 0.0002 and 0,0002 are one number."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from studio.config import OptionSpec
from studio.i18n import tr

# "10,000" may mean ten or ten thousand: neither is guessed.
_AMBIGUOUS = re.compile(r"\d,\d{3}(?!\d)")


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number: 0.0002 is 2e-4, 65536.0 is 65536."""
    if isinstance(value, int) or not value or 1e-3 <= abs(value) < 1e7:
        return repr(value).removesuffix(".0")
    # repr has the fewest digits that read back as this float; Decimal moves the point without touching them.
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if value < 0 else ''}{first}{'.' * bool(rest)}{rest}e{int(exponent) + len(rest)}"


def next_power(value: float, by: int) -> float:
    """Return the next number of a series above (by = 1) or below (by = -1).

    Whole numbers go by powers of two, others as 1, 2, 5, 10 go on: 1e-4, 2e-4, 5e-4.
    """
    if isinstance(value, int):
        return 1 << value.bit_length() if by > 0 else 1 << max(0, (value - 1).bit_length() - 1)
    power = math.floor(math.log10(value))
    series = sorted(float(f"{mantissa}e{power + shift}") for shift in (-1, 0, 1) for mantissa in (1, 2, 5))
    far = 1e-9 * value
    return next(x for x in series if x > value + far) if by > 0 else next(x for x in series[::-1] if x < value - far)


def parse_number(text: str, spec: OptionSpec) -> int | float | None:
    """Read what was typed for an option.

    Raises:
        ValueError: it is not such a number, or out of bounds; the message is for the user.
    """
    cleaned = text.strip().replace(" ", "").replace("\u2212", "-")
    if not cleaned and spec.optional:
        return None
    value = _whole(cleaned) if spec.kind == "integer" else _real(cleaned)
    if not _within(value, spec):
        raise ValueError(tr("Allowed: {bounds}.").format(bounds=bounds_text(spec)))
    return value


def bounds_text(spec: OptionSpec) -> str:
    """Return the bounds of an option, such as "> 0, ≤ 10"."""
    parts = []
    if spec.minimum is not None:
        parts.append(f"{'>' if spec.exclusive_minimum else '≥'} {number_text(spec.minimum)}")
    if spec.maximum is not None:
        parts.append(f"{'<' if spec.exclusive_maximum else '≤'} {number_text(spec.maximum)}")
    return tr(", ").join(parts)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer():
        raise ValueError(tr("Enter a whole number, such as 8."))
    return int(value)


def _real(text: str) -> float:
    if _AMBIGUOUS.search(text):
        raise ValueError(tr("Write the number with a decimal point and without thousands separators."))
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(tr("Enter a number, such as 0.5 or 2e-4."))
    return value


def _within(value: float, spec: OptionSpec) -> bool:
    low, high = spec.minimum, spec.maximum
    above = low is None or (value > low if spec.exclusive_minimum else value >= low)
    below = high is None or (value < high if spec.exclusive_maximum else value <= high)
    return above and below
