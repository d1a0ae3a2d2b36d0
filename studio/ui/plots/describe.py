"""A curve in words, for those who do not see it."""

from __future__ import annotations

import numpy as np

from studio.i18n import tr
from studio.text import numbers
from studio.ui.plots.curve import Curve


def in_words(curve: Curve) -> str:
    """Return the newest, lowest and highest value of a curve that has points, and how many are not finite."""
    y = curve.series.y
    finite = y[np.isfinite(y)]
    text = tr("{name}: now {now}, lowest {low}, highest {high}.").format(
        name=tr(curve.style.title),
        now=numbers.number(float(y[-1])),
        low=numbers.number(float(finite.min()) if len(finite) else None),
        high=numbers.number(float(finite.max()) if len(finite) else None),
    )
    bad = curve.series.x[~np.isfinite(y)]
    if not len(bad):
        return text
    return (
        text
        + " "
        + tr("{count} values are not finite, the first at step {step}.").format(count=len(bad), step=f"{int(bad[0]):,}")
    )
