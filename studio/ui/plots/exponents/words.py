"""The exponent histogram in words: the zones of a format, and what a loss scale does to the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.exponents import Format, Histogram, Shares
from studio.i18n import gettext_noop, sentences, tr
from studio.text import numbers
from studio.text.numbers import share_text


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A part of a format's range. `key` is a field of `Shares`, `colour` a name of the palette."""

    key: str
    title: str
    colour: str
    tooltip: str


ZONES = (
    Zone(
        key="zero",
        title=gettext_noop("Zero"),
        colour="series_6",
        tooltip=gettext_noop("Too small for the format: these become zero and teach nothing"),
    ),
    Zone(
        key="subnormal",
        title=gettext_noop("Subnormal"),
        colour="series_2",
        tooltip=gettext_noop("Kept with fewer digits, the smaller the fewer"),
    ),
    Zone(
        key="normal",
        title=gettext_noop("Normal"),
        colour="series_1",
        tooltip=gettext_noop("Kept with all digits of the format"),
    ),
    Zone(
        key="overflow",
        title=gettext_noop("Overflow"),
        colour="bad",
        tooltip=gettext_noop(
            "Too large for the format: these become infinite, and one of them is enough to skip the step"
        ),
    ),
)


def zone_of(exponent: float, fmt: Format) -> Zone:
    """Return the zone in which numbers between 2^exponent and twice that lie, once they are scaled."""
    middle = exponent + 0.5
    limits = zone_limits(fmt)
    return ZONES[sum(middle >= limit for limit in limits)]


def zone_limits(fmt: Format) -> tuple[float, float, float]:
    """Return the exponents at which zero ends, subnormal ends, and overflow begins."""
    return fmt.smallest - 1, fmt.smallest_normal, math.log2(fmt.overflow)


def share_of(share: float, total: int) -> str:
    """Return a share of so many numbers as text; less than half a number, between two bins' ends, is none."""
    return share_text(share if share * total >= 0.5 else 0.0, 1)


def shares_text(shares: Shares, total: int, scale: float, fmt: Format) -> str:
    """Return what a scale does to the numbers, in a sentence."""
    words = tr(
        "At scale {scale}, in {format}: zero {zero}, subnormal {subnormal}, normal {normal}, overflow {overflow}."
    )
    return words.format(
        scale=numbers.scale(scale),
        format=fmt.name,
        zero=share_of(shares.zero, total),
        subnormal=share_of(shares.subnormal, total),
        normal=share_of(shares.normal, total),
        overflow=share_of(shares.overflow, total),
    )


def best_text(best: tuple[int, int] | None, fmt: Format) -> str:
    """Return which scales are best and why."""
    if best is None:
        return tr("No scale can be told best from this sample.")
    low, high = best
    if low <= 0 <= high and fmt.smallest_normal < -100:
        return tr("{format} has the range of fp32: these numbers need no scale.").format(format=fmt.name)
    if low == high:
        return tr(
            "Best scale {high}: the largest at which no gradient overflows, and so the fewest become zero."
        ).format(high=numbers.power_of_two(high))
    return tr("Best: {low} to {high}. Above, a gradient overflows; below, more become zero.").format(
        low=numbers.power_of_two(low), high=numbers.power_of_two(high)
    )


def recorded_text(histogram: Histogram, scale: float | None, looked_at: float | None = None) -> str:
    """Return what the recording cannot tell: what was lost before it, and what a smaller scale would lose besides.

    Args:
        scale: the loss scale when it was recorded; `looked_at`: the scale that the shares are shown for.
    """
    total = max(1, histogram.total)
    said = []
    if scale is not None and looked_at is not None and looked_at < scale:
        said.append(tr("At least: what is flushed on its way also takes what would follow from it."))
    if histogram.zeros:
        at = "" if scale is None else numbers.scale(scale).partition(" ")[2].strip("()") or numbers.scale(scale)
        said.append(_zeros_text(histogram, scale).format(share=share_text(histogram.zeros, total), scale=at))
    if histogram.non_finite:
        words = tr("{share} were not finite when recorded, which counts as overflow.")
        said.append(words.format(share=share_text(histogram.non_finite, total)))
    return sentences(said)


def _zeros_text(histogram: Histogram, scale: float | None) -> str:
    """What was flushed left no exponent: neither how much of the zeros that is, nor which scale would have kept it."""
    if scale is None:
        return tr("{share} were zero when recorded; they stay zero at every scale.")
    if histogram.zeros == histogram.total:
        return tr("What was flushed at {scale} left no trace; a run at a larger scale shows it.")
    return tr("{share} were zero when recorded at {scale}; they stay zero at every scale.")
