"""How numbers are written: short, with their units, and with names for NaN and infinity."""

from __future__ import annotations

import math
import time

from studio.i18n import tr
from studio.text.visible import in_line

NONE = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


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


def size_text(count: float) -> str:
    """Bytes in the unit that fits: 5_476_083_302 is 5.1 GB (1024 steps, as system monitors show memory)."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{_short(count)} {unit}"
        count /= 1024
    return f"{_short(count)} TB"


def count_text(count: float) -> str:
    """A count in short: 4_884_480 is 4.9 M, 412 is 412."""
    for factor, letter in _COUNTS:
        # 999,950 and more would be rounded to 1000.0 of the smaller unit.
        if count >= factor * 0.99995:
            return f"{_short(count / factor)} {letter}"
    return f"{count:,.0f}"


def share_text(part: float, whole: float) -> str:
    """A share in per cent with two significant digits: 3.5 %."""
    percent = 100 * part / whole if whole else 0.0
    return in_percent(f"{percent:.0f}" if percent >= 9.95 or not percent else f"{percent:.2g}")


def percent(share: float) -> str:
    """A share with two to four significant digits, for one that may be all but everything: 99.93 %."""
    return in_percent(f"{100 * share:.4g}" if abs(share) > 0.1 else f"{100 * share:.2g}")


def in_percent(figure: str) -> str:
    """A figure with its sign, between which some languages leave a space: 50 %, or 50%."""
    return tr("{figure} %").format(figure=figure)


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return tr("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return tr("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return tr("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def computer_text(computer: str, written: float) -> str:
    """Say which other computer trains a run, and how long ago it was last heard of (`written`: when)."""
    ago = duration_text(time.time() - written)
    return tr("on {computer}, last written {duration} ago").format(computer=in_line(computer), duration=ago)


def elapsed_text(seconds: float) -> str:
    """A time since a beginning, as a clock writes it: 0:05, 12:30, 1:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed_text(tokens_per_second: float) -> str:
    """A speed in tokens per second."""
    return tr("{speed} tokens/s").format(speed=_short(tokens_per_second))


def _short(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.1f}" if 0 < value < 9.95 and value != round(value) else f"{value:,.0f}"


def _named(value: float) -> str:
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
