"""The event lane: one mark per skip, growth of the scale, validation and verdict, in line with the scale above it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from studio.i18n import tr
from studio.runner.numerics import verdict_title
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.plots.lane.events import GROWTH, ROWS, SKIPPED, VALIDATION, VERDICT, Event, LaneMarks, Steps
from studio.ui.plots.lane.overlay import LaneAxis, LaneOverlay
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import TimelinePlot


class EventLane(TimelinePlot):
    """`picked` carries the event that was clicked, or None for a click where there is none.

    Page Up and Page Down move the cursor from event to event, Enter picks what is under it.
    """

    overlay: LaneOverlay
    picked = Signal(object)

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        super().__init__(tr("Events"), timeline, LaneAxis(), LaneOverlay, parent)
        self.setFixedHeight(theme.space(len(ROWS) * 2.2) + theme.space(3))
        self.view.setMouseEnabled(x=False, y=False)
        self.view.setYRange(0, len(ROWS), padding=0)
        self.clicked.connect(lambda place: self.picked.emit(self._event_at_place(place)))

    @property
    def marks(self) -> LaneMarks:
        """The marks as they were drawn last."""
        return self.overlay.marks

    @override
    def show_record(self, record: RunRecord | None) -> None:
        self.overlay.marks = LaneMarks()
        super().show_record(record)

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
        found = [(abs(step - at), step, r) for r in rows for step in _nearest(self.marks.in_row(r), at)]
        distance, step, place = min(found, default=(np.inf, 0.0, 0))
        return self.event_at(int(step), place) if distance <= max(reach, 0.5) else None

    def event_at(self, step: int, row: int) -> Event:
        """Return the event of a row at a step, in words."""
        assert self.record is not None
        return self.marks.event(self.record, step, row)

    @override
    def empty_message(self) -> str:
        if self.record is not None and (self.record.state.step or len(self.record.series["validation"])):
            return ""
        return " "

    @override
    def reading(self, step: int) -> str:
        rows = (SKIPPED, GROWTH, VALIDATION, VERDICT)
        return "   ".join(self.event_at(step, row).text for row in rows if step in self.marks.in_row(row))

    @override
    def summary(self) -> str:
        return self.counts()

    @override
    def _draw_content(self, fit: bool) -> None:
        self.overlay.marks = LaneMarks() if self.record is None else LaneMarks.of(self.record)

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        near = self._event_at_place(self.place_of(event))
        self.overlay.setToolTip(near.text if near else "")

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.picked.emit(self._event_under_cursor())
        elif event.key() in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            self._move_to_event(forwards=event.key() == Qt.Key.Key_PageDown)
        else:
            super().keyPressEvent(event)

    def _event_at_place(self, place: QPointF) -> Event | None:
        """Return the event under the mouse: of its row if there is one, else of any."""
        row = int((1 - place.y() / max(1.0, self.view.height())) * len(ROWS))
        return self.event_near(place.x(), min(max(row, 0), len(ROWS) - 1)) or self.event_near(place.x())

    def _event_under_cursor(self) -> Event | None:
        step = self.timeline.cursor
        rows = [row for row in range(len(ROWS)) if step is not None and step in self.marks.in_row(row)]
        return self.event_at(step, rows[0]) if rows and step is not None else None

    def _move_to_event(self, *, forwards: bool) -> None:
        """Move the cursor to the next or previous step that has an event; without a cursor, to the first or last."""
        at, steps = self.timeline.cursor, self.marks.everywhere()
        if forwards:
            beyond = steps[steps > (-1 if at is None else at)][:1]
        else:
            beyond = steps[steps < (np.inf if at is None else at)][-1:]
        for step in beyond:
            self.timeline.move_cursor(int(step))


def _nearest(steps: Steps, at: float) -> Steps:
    """Return the one step of an ascending array that is nearest, or none of an empty one."""
    if not len(steps):
        return steps
    place = int(np.searchsorted(steps, at))
    around = steps[max(0, place - 1) : place + 1]
    nearest = int(np.argmin(np.abs(around - at)))
    return around[nearest : nearest + 1]
