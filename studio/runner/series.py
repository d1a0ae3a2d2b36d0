"""One metric over the attempted steps. Every raw point is kept; a plot asks for at most two points per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from operator import eq
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


class MetricSeries:
    """Points with ascending x. Appending is amortised O(1); non-finite values are kept as they are."""

    def __init__(self) -> None:
        self._points = np.empty((2, 64))
        self._length = 0
        self._new_x: list[float] = []  # points that are not in `_points` yet: appending to a list is ten times as fast
        self._new_y: list[float] = []

    def __len__(self) -> int:
        return self._length + len(self._new_x)

    @property
    def x(self) -> Array:
        """Attempted steps, float64, shape (points,). A view: do not change it."""
        self._join()
        return self._points[0, : self._length]

    @property
    def y(self) -> Array:
        """Values, float64, shape (points,), non-finite ones among them. A view: do not change it."""
        self._join()
        return self._points[1, : self._length]

    @property
    def last(self) -> float | None:
        """The newest value, or None when there is none."""
        return float(self.y[-1]) if len(self) else None

    def append(self, x: float, y: float) -> None:
        """Add a point; x must not be smaller than the one before. At the same x it takes that one's place."""
        if self._new_x:
            if self._new_x[-1] == x:  # measured again, by a run that went on from a checkpoint
                self._new_y[-1] = y
                return
        elif self._length and self._points[0, self._length - 1] == x:
            self._length -= 1
        self._new_x.append(x)
        self._new_y.append(y)

    def extend(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Add points in order, as `append` adds each."""
        if len(x) < 2 or any(map(eq, x, x[1:])):
            for point in zip(x, y, strict=True):
                self.append(*point)
            return
        self.append(x[0], y[0])
        self._new_x += x[1:]
        self._new_y += y[1:]
        self._join()  # here, by whoever reads the run, and not when the window draws it

    def _join(self) -> None:
        """Put the new points with the others."""
        if not self._new_x:
            return
        length = len(self)
        if length > self._points.shape[1]:
            grown = np.empty((2, 2 * length))
            grown[:, : self._length] = self._points[:, : self._length]
            self._points = grown
        self._points[0, self._length : length] = self._new_x
        self._points[1, self._length : length] = self._new_y
        self._length, self._new_x, self._new_y = length, [], []

    def keep_until(self, x: float) -> None:
        """Forget the points after this x."""
        self._length = int(np.searchsorted(self.x, x, side="right"))

    def at(self, x: float) -> float | None:
        """Return the value at exactly this x, or None when there is none."""
        place = int(np.searchsorted(self.x, x))
        return float(self.y[place]) if place < len(self) and self.x[place] == x else None

    def reduced(self, first: float, last: float, pixels: int) -> tuple[Array, Array]:
        """Return the points to draw between x = first and x = last, at most two a pixel.

        The points with the smallest and the largest finite value of each pixel are kept, in their order, so that a
        spike of one step is visible at every zoom level. One point beyond each edge is kept, so that lines reach it.
        Pixels without a finite value are left out; `non_finite` has those points.
        """
        x, y = self._visible(first, last)
        if len(x) <= 2 * pixels:
            finite = np.isfinite(y)
            return x[finite], y[finite]
        return _extremes(x, y, pixels)

    def non_finite(self, first: float, last: float) -> Array:
        """Return the x of the nan and inf points between first and last."""
        x, y = self._visible(first, last)
        return x[~np.isfinite(y)]

    def smoothed(self, window: int) -> MetricSeries:
        """Return the mean of the finite values among the last `window` points, at each finite point."""
        finite = np.isfinite(self.y)
        x, y = self.x[finite], self.y[finite]
        total = np.concatenate([[0.0], np.cumsum(y)])
        ends = np.arange(1, len(y) + 1)
        begins = np.maximum(0, ends - window)
        smoothed = MetricSeries()
        smoothed._points = np.stack([x, (total[ends] - total[begins]) / (ends - begins)])
        smoothed._length = len(x)
        return smoothed

    def _visible(self, first: float, last: float) -> tuple[Array, Array]:
        begin = max(0, int(np.searchsorted(self.x, first)) - 1)
        end = int(np.searchsorted(self.x, last, side="right")) + 1
        return self.x[begin:end], self.y[begin:end]


def _extremes(x: Array, y: Array, pixels: int) -> tuple[Array, Array]:
    """The lowest and the highest finite point of each of `pixels` runs of equal length (the last may be shorter)."""
    width = -(-len(y) // pixels)
    padding = np.full(-len(y) % width, np.nan)
    finite = np.concatenate([y, padding])
    missing = ~np.isfinite(finite)
    places = []
    for extreme, never in ((np.argmin, np.inf), (np.argmax, -np.inf)):
        filled = np.where(missing, never, finite) if missing.any() else finite
        runs = filled.reshape(-1, width)
        places.append(extreme(runs, axis=1) + np.arange(len(runs)) * width)
    kept = np.unique(np.concatenate(places))
    kept = kept[~missing[kept]]
    return x[kept], y[kept]
