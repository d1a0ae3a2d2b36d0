"""The event lane: one mark per skip, growth of the scale, validation and verdict, in line with the scale above it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.runner.verdicts import verdict_title
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.axes import Log2Axis, ValueAxis
from studio.ui.plots.lane.events import GROWTH, ROWS, SKIPPED, VALIDATION, VERDICT, Event, LaneMarks, Steps
from studio.ui.plots.overlay import Overlay
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import TimelinePlot
from studio.ui.plots.view import StepView


class LaneAxis(ValueAxis):
    """Names the rows; as wide as the axis of the scale above it, so that the steps stand in line."""

    widest = Log2Axis.widest

    def __init__(self) -> None:
        super().__init__()
        self.setGrid(False)
        self.setTicks([[(row + 0.5, tr(name)) for row, name in enumerate(ROWS)]])


class LaneOverlay(Overlay):
    """Paints the marks of each row; marks that fall on one pixel merge, none vanishes."""

    def __init__(self, view: StepView) -> None:
        super().__init__(view)
        self.marks = LaneMarks()

    @override
    def _paint_content(self, painter: QPainter) -> None:
        super()._paint_content(painter)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(theme.palette().grid, 1))
        for row in range(1, len(ROWS)):
            painter.drawLine(QLineF(0, self.height_of(row), self.view.width(), self.height_of(row)))
        self._paint_ticks(painter, self.tick_pixels(), "bad")
        self._paint_ticks(painter, self.columns_of(self.marks.floor), "warning", 3)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_growths(painter)
        self._paint_diamonds(painter, VALIDATION, self.marks.validations, "series_2")
        self._paint_diamonds(painter, VERDICT, self.marks.harmless, "good")
        self._paint_diamonds(painter, VERDICT, self.marks.harmful, "bad")

    def tick_pixels(self) -> Steps:
        """Return the columns of pixels that hold at least one skipped step."""
        return self.columns_of(self.marks.skipped, 1.0)

    def _paint_ticks(self, painter: QPainter, pixels: Steps, colour: str, width: int = 1) -> None:
        """Skips; those that found the scale at its floor stand on a foot."""
        top, bottom = self.height_of(SKIPPED + (0.85 if width == 1 else 0.3)), self.height_of(SKIPPED + 0.12)
        painter.setPen(QPen(getattr(theme.palette(), colour), width))
        painter.drawLines([QLineF(x, top, x, bottom) for x in pixels])

    def _paint_growths(self, painter: QPainter) -> None:
        middle, half = self.height_of(GROWTH + 0.5), theme.space(0.5)
        painter.setPen(QPen(theme.palette().surface, 1))
        painter.setBrush(theme.palette().series_4)
        for x in self.columns_of(self.marks.growths):
            corners = (QPointF(x - half, middle + half), QPointF(x + half, middle + half), QPointF(x, middle - half))
            painter.drawPolygon(QPolygonF(corners))

    def _paint_diamonds(self, painter: QPainter, row: int, steps: Steps, colour: str) -> None:
        middle, half = self.height_of(row + 0.5), theme.space(0.45)
        painter.setPen(QPen(theme.palette().surface, 1))
        painter.setBrush(getattr(theme.palette(), colour))
        for x in self.columns_of(steps):
            corners = (QPointF(x, middle - half), QPointF(x + half, middle), QPointF(x, middle + half))
            painter.drawPolygon(QPolygonF([*corners, QPointF(x - half, middle)]))


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
        if not verdicts:
            return plain
        return tr("{name}: {value}").format(name=plain, value=tr(verdict_title(verdicts[-1].verdict)))

    def event_near(self, x: float, row: int | None = None) -> Event | None:
        """Return the event nearest to a pixel from the left edge, if it is within reach."""
        at = self.view.step_at(x)
        half_a_step = float(self.view.pixel_of(at + 0.5)) - x
        rows = range(len(ROWS)) if row is None else (row,)
        near = ((r, step) for r in rows for step in _nearest(self.marks.in_row(r), at))
        found = [(abs(float(self.view.pixel_of(step)) - x), step, r) for r, step in near]
        distance, step, place = min(found, default=(np.inf, 0.0, 0))
        return self.event_at(int(step), place) if distance <= max(theme.space(0.75), half_a_step) else None

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
    def tip(self, place: QPointF) -> str:
        near = self._event_at_place(place)
        return "\n".join(filter(None, (near.text if near else "", super().tip(place))))

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
