"""What all charts of one page have in common: the range of steps in view, and the step under the cursor."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.runner.ruler import Ruler

# The narrowest and the first view, in steps.
NARROWEST = 4.0
SHORTEST = 20.0
MARGIN = 0.02


class Timeline(QObject):
    """A range of attempted steps, in which charts pan and zoom together.

    `first` and `last` are the edges of the view, as places of the ruler; `newest` and `cursor` are steps.
    The view shows the whole run until the user zooms in. A view that holds the newest step keeps on holding it as
    the run grows; one that looks back stays where it is.
    """

    range_changed = Signal()
    cursor_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.ruler = Ruler()
        self.newest = 0
        self.planned = 0
        self.cursor: int | None = None
        self._whole = True
        self.first, self.last = self.bounds

    @property
    def bounds(self) -> tuple[float, float]:
        """The range that holds every step, with a margin. A run that is planned to be short has no more room."""
        end = float(self.ruler.places(self._length))
        return -MARGIN * end, (1 + MARGIN) * end

    @property
    def width(self) -> float:
        return self.last - self.first

    @property
    def whole(self) -> bool:
        """Whether the view shows every step."""
        return self._whole

    @property
    def following(self) -> bool:
        """Whether the newest step is in view and will stay there."""
        return self._whole or self.last >= self.ruler.places(self.newest)

    def restart(self, newest: int = 0, planned: int = 0, ruler: Ruler | None = None) -> None:
        """Begin anew with another run, all of it in view; `planned` is how many updates it is to make, if known."""
        self.newest, self.planned, self.ruler = newest, planned, ruler or Ruler()
        self.set_cursor(None)
        self.fit()

    def grow(self, newest: int, planned: int = 0) -> None:
        """Take in that the run has come to step `newest`, and how many updates it is to make."""
        if newest <= self.newest and planned == self.planned:
            return
        following, width = self.following, self.width
        self.newest, self.planned = max(newest, self.newest), planned
        low, high = self.bounds
        if self._whole:
            self._set(low, high)
        elif following:
            self._set(high - width, high)

    def lay_out_by(self, ruler: Ruler) -> None:
        """Measure the steps otherwise; those in view stay in view."""
        first, last = self.ruler.steps(self.first), self.ruler.steps(self.last)
        self.ruler = ruler
        if self._whole:
            self.first, self.last = self.bounds
        else:
            self.first, self.last = float(ruler.places(first)), float(ruler.places(last))
        self.range_changed.emit()

    def fit(self) -> None:
        """Show the whole run, and follow it."""
        self._whole = True
        self._set(*self.bounds)

    def pan(self, share: float) -> None:
        """Move the view by a share of its width; positive is towards later steps."""
        self._look_at(self.first + share * self.width, self.width)

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Make the view `factor` times as wide around step `at`: the cursor, else the newest step or the middle."""
        if at is None:
            middle = self.newest if self.following else self.ruler.steps((self.first + self.last) / 2)
            at = self.cursor if self.cursor is not None else middle
        place = float(self.ruler.places(at))
        share = (place - self.first) / self.width
        narrowest = NARROWEST / self._length * float(self.ruler.places(self._length))
        width = max(narrowest, self.width * factor)
        self._look_at(place - share * width, width)

    def set_cursor(self, step: int | None) -> None:
        """Move the cursor to a step, or take it away."""
        if step is not None:
            step = min(max(step, 0), self.newest)
        if step != self.cursor:
            self.cursor = step
            self.cursor_changed.emit()

    def move_cursor(self, step: int) -> None:
        """Move the cursor by keyboard: the view comes along when the step lies outside it."""
        self.set_cursor(step)
        place = None if self.cursor is None else float(self.ruler.places(self.cursor))
        if place is not None and not self.first <= place <= self.last:
            self._look_at(place - self.width / 2, self.width)

    @property
    def _length(self) -> float:
        """How many steps have room in the whole view."""
        shortest = max(NARROWEST, min(SHORTEST, self.planned)) if self.planned else SHORTEST
        return max(shortest, self.newest)

    def _look_at(self, first: float, width: float) -> None:
        low, high = self.bounds
        self._whole = width >= high - low
        if self._whole:
            self._set(low, high)
        else:
            first = min(max(first, low), high - width)
            self._set(first, first + width)

    def _set(self, first: float, last: float) -> None:
        if (first, last) != (self.first, self.last):
            self.first, self.last = first, last
            self.range_changed.emit()
