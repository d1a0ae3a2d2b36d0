"""The event lane: one mark per skip, growth of the scale, validation and verdict, in line with the scale above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from studio.events import OverflowDiagnosed
from studio.i18n import tr
from studio.runner.numerics import floor_steps, scale_growths, verdict_title
from studio.runner.series import MetricSeries
from studio.ui import theme
from studio.ui.plots.chart import Chart
from studio.ui.plots.lane.overlay import GROWTH, ROWS, SKIPPED, VALIDATION, VERDICT, LaneAxis, LaneOverlay, Steps
from studio.ui.plots.lane.words import growth_text, skip_text, validation_text, verdict_text
from studio.ui.plots.overlay import Overlay
from studio.ui.plots.timeline import Timeline


@dataclass(frozen=True)
class Event:
    """One mark: where it is and what it says."""

    step: int
    row: int
    text: str


class EventLane(Chart):
    """`picked` carries the event that was clicked, or None for a click where there is none.

    Page Up and Page Down move the cursor from event to event, Enter picks what is under it.
    """

    picked = Signal(object)

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.growths: Steps = np.empty(0)
        self.floor: Steps = np.empty(0)
        self._pressed = QPointF()
        self.harmless: Steps = np.empty(0)
        self.harmful: Steps = np.empty(0)
        super().__init__(tr("Events"), timeline, LaneAxis(), (), parent)
        self.setFixedHeight(theme.space(len(ROWS) * 2.2) + theme.space(3))
        self.view.setMouseEnabled(x=False, y=False)
        self.view.setYRange(0, len(ROWS), padding=0)

    def steps(self, row: int) -> Steps:
        """Return the steps that have a mark in a row, ascending."""
        if self.record is None:
            return np.empty(0)
        if row == SKIPPED:
            return np.asarray(self.record.skips, dtype=np.float64)
        if row == VALIDATION:
            return self.record.series["validation"].x
        if row == GROWTH:
            return self.growths
        return np.sort(np.concatenate([self.harmless, self.harmful]))

    def counts(self) -> str:
        """Return how many steps were skipped, and what kind the newest verdict is where there is one."""
        if self.record is None or not self.record.state.step:
            return ""
        plain = tr("{skipped} skipped of {attempted} attempted").format(
            skipped=f"{len(self.record.skips):,}", attempted=f"{self.record.state.step:,}"
        )
        verdicts = self.record.verdicts
        return f"{plain}: {tr(verdict_title(verdicts[-1].verdict))}" if verdicts else plain

    def event_near(self, x: float, row: int | None = None) -> Event | None:
        """Return the event nearest to a pixel from the left edge, if it is within reach."""
        reach = theme.space(0.75) / max(1.0, self.view.width()) * self.timeline.width
        at = self.view.step_at(x)
        rows = range(len(ROWS)) if row is None else (row,)
        found = [(abs(step - at), step, r) for r in rows for step in _nearest(self.steps(r), at)]
        distance, step, place = min(found, default=(np.inf, 0.0, 0))
        return self.event_at(int(step), place) if distance <= max(reach, 0.5) else None

    def event_at(self, step: int, row: int) -> Event:
        """Return the event of a row at a step, in words."""
        assert self.record is not None
        if row == SKIPPED:
            return Event(step, row, skip_text(self.record, step, step in self.floor))
        words = {GROWTH: growth_text, VALIDATION: validation_text, VERDICT: verdict_text}
        return Event(step, row, words[row](self.record, step))

    @override
    def draw(self) -> None:
        verdicts = [] if self.record is None else self.record.verdicts
        self.harmless = _steps_of(verdicts, harmful=False)
        self.harmful = _steps_of(verdicts, harmful=True)
        scale = MetricSeries() if self.record is None else self.record.series["grad_scale"]
        self.growths = scale_growths(scale)
        self.floor = np.empty(0) if self.record is None else floor_steps(self.record)
        super().draw()

    @override
    def empty_message(self) -> str:
        if self.record is not None and (self.record.state.step or len(self.steps(VALIDATION))):
            return ""
        return " "

    @override
    def reading(self, step: int) -> str:
        rows = (SKIPPED, GROWTH, VALIDATION, VERDICT)
        there = [self.event_at(step, row).text for row in rows if step in self.steps(row)]
        return "   ".join(there)

    @override
    def summary(self) -> str:
        return self.counts()

    @override
    def _make_overlay(self) -> Overlay:
        return LaneOverlay(self)

    @override
    def _fit_values(self, values: Steps) -> None:
        """The rows stand still."""

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        near = self._event_at_place(self.place_of(event))
        self.overlay.setToolTip(near.text if near else "")

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = event.position()
        super().mousePressEvent(event)
        event.accept()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        event.accept()
        moved = (event.position() - self._pressed).manhattanLength()
        if event.button() == Qt.MouseButton.LeftButton and moved < theme.application().startDragDistance():
            self.picked.emit(self._event_at_place(self.place_of(event)))

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.picked.emit(self._event_under_cursor())
            return
        direction = {Qt.Key.Key_PageUp: -1, Qt.Key.Key_PageDown: 1}.get(Qt.Key(event.key()))
        if direction is None:
            super().keyPressEvent(event)
        elif (step := self._neighbour(direction)) is not None:
            self.timeline.move_cursor(step)

    def _event_at_place(self, place: QPointF) -> Event | None:
        """Return the event under the mouse: of its row if there is one, else of any."""
        row = int((1 - place.y() / max(1.0, self.view.height())) * len(ROWS))
        return self.event_near(place.x(), min(max(row, 0), len(ROWS) - 1)) or self.event_near(place.x())

    def _event_under_cursor(self) -> Event | None:
        step = self.timeline.cursor
        rows = [row for row in range(len(ROWS)) if step is not None and step in self.steps(row)]
        return self.event_at(step, rows[0]) if rows and step is not None else None

    def _neighbour(self, direction: int) -> int | None:
        """Return the next or previous step that has an event."""
        at = self.timeline.cursor
        steps = np.unique(np.concatenate([self.steps(row) for row in range(len(ROWS))]))
        if direction > 0:
            beyond = steps[steps > (-1 if at is None else at)]
            return int(beyond[0]) if len(beyond) else None
        beyond = steps[steps < (np.inf if at is None else at)]
        return int(beyond[-1]) if len(beyond) else None


def _steps_of(verdicts: list[OverflowDiagnosed], *, harmful: bool) -> Steps:
    return np.array([verdict.step for verdict in verdicts if verdict.harmful == harmful], dtype=np.float64)


def _nearest(steps: Steps, at: float) -> Steps:
    """Return the one step of an ascending array that is nearest, or none of an empty one."""
    if not len(steps):
        return steps
    place = int(np.searchsorted(steps, at))
    around = steps[max(0, place - 1) : place + 1]
    nearest = int(np.argmin(np.abs(around - at)))
    return around[nearest : nearest + 1]
