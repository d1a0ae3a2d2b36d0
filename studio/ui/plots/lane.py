"""The event lane: one mark per skipped step, validation and verdict, under the scale and in line with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from studio.events import OverflowDiagnosed
from studio.i18n import mark, tr
from studio.ui import theme
from studio.ui.plots import numbers
from studio.ui.plots.axes import Log2Axis, ValueAxis
from studio.ui.plots.chart import Chart
from studio.ui.plots.overlay import Overlay, columns
from studio.ui.plots.timeline import Timeline

ROWS = (mark("Verdict"), mark("Validation"), mark("Skipped"))  # from the bottom up
VERDICT, VALIDATION, SKIPPED = range(3)
Steps = NDArray[np.float64]


class LaneAxis(ValueAxis):
    """Names the rows; as wide as the axis of the scale above it, so that the steps stand in line."""

    widest = Log2Axis.widest

    def __init__(self) -> None:
        super().__init__()
        self.setGrid(False)
        self.setTicks([[(row + 0.5, tr(name)) for row, name in enumerate(ROWS)]])


@dataclass(frozen=True)
class Event:
    """One mark: where it is and what it says."""

    step: int
    row: int
    text: str


class LaneOverlay(Overlay):
    """Paints the marks of each row; marks that fall on one pixel merge, none vanishes."""

    def __init__(self, chart: EventLane) -> None:
        super().__init__(chart.view)
        self._chart = chart

    @override
    def paint(self, painter: QPainter, option: object, widget: QWidget | None = None) -> None:
        super().paint(painter, option, widget)  # type: ignore[arg-type]
        if self.message:
            return
        colours = theme.palette()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(colours.grid, 1))
        for row in range(1, len(ROWS)):
            painter.drawLine(QLineF(0, self.height_of(row), self.view.width(), self.height_of(row)))
        self._paint_ticks(painter)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_diamonds(painter, VALIDATION, self._chart.steps(VALIDATION), "series_2")
        self._paint_diamonds(painter, VERDICT, self._chart.harmless, "good")
        self._paint_diamonds(painter, VERDICT, self._chart.harmful, "bad")

    def tick_pixels(self) -> Steps:
        """Return the columns of pixels that hold at least one skipped step."""
        return columns(self.view.pixel_of(self._chart.steps(SKIPPED)), self.view.width())

    def _paint_ticks(self, painter: QPainter) -> None:
        top, bottom = self.height_of(SKIPPED + 0.85), self.height_of(SKIPPED + 0.15)
        painter.setPen(QPen(theme.palette().bad, 1))
        painter.drawLines([QLineF(x, top, x, bottom) for x in self.tick_pixels()])

    def _paint_diamonds(self, painter: QPainter, row: int, steps: Steps, colour: str) -> None:
        middle, half = self.height_of(row + 0.5), theme.space(0.45)
        painter.setPen(QPen(theme.palette().surface, 1))
        painter.setBrush(getattr(theme.palette(), colour))
        for x in columns(self.view.pixel_of(steps), self.view.width(), 2.0):
            corners = (QPointF(x, middle - half), QPointF(x + half, middle), QPointF(x, middle + half))
            painter.drawPolygon(QPolygonF([*corners, QPointF(x - half, middle)]))


class EventLane(Chart):
    """Page Up and Page Down move the cursor from event to event."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.harmless: Steps = np.empty(0)
        self.harmful: Steps = np.empty(0)
        super().__init__(tr("Events"), timeline, LaneAxis(), (), parent)
        self.setFixedHeight(theme.space(len(ROWS) * 2.2) + theme.space(3))
        self.view.setMouseEnabled(x=False, y=False)
        self.view.setYRange(0, len(ROWS), padding=0)

    def steps(self, row: int) -> Steps:
        """Return the steps that have a mark in a row."""
        if self.record is None:
            return np.empty(0)
        if row == SKIPPED:
            return np.asarray(self.record.skips, dtype=np.float64)
        if row == VALIDATION:
            return self.record.series["validation"].x
        return np.concatenate([self.harmless, self.harmful])

    def counts(self) -> str:
        """Return how many steps were skipped, and the newest verdict where there is one."""
        if self.record is None or not self.record.state.step:
            return ""
        plain = tr("{skipped} skipped of {attempted} attempted").format(
            skipped=f"{len(self.record.skips):,}", attempted=f"{self.record.state.step:,}"
        )
        verdicts = self.record.verdicts
        return f"{plain}: {verdicts[-1].sentence}" if verdicts else plain

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
        words = {SKIPPED: self._skip_text, VALIDATION: self._validation_text, VERDICT: self._verdict_text}
        return Event(step, row, words[row](step))

    @override
    def draw(self) -> None:
        verdicts = [] if self.record is None else self.record.verdicts
        self.harmless = _steps_of(verdicts, harmful=False)
        self.harmful = _steps_of(verdicts, harmful=True)
        super().draw()

    @override
    def empty_message(self) -> str:
        if self.record is not None and (self.record.state.step or len(self.steps(VALIDATION))):
            return ""
        return " "

    @override
    def reading(self, step: int) -> str:
        there = [self.event_at(step, row).text for row in (SKIPPED, VALIDATION, VERDICT) if step in self.steps(row)]
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

    def _skip_text(self, step: int) -> str:
        assert self.record is not None
        scale = self.record.series["grad_scale"]
        place = int(np.searchsorted(scale.x, step))
        if place >= len(scale) or scale.x[place] != step:
            return tr("step {step} was skipped: a gradient was not finite").format(step=f"{step:,}")
        if place + 1 >= len(scale):
            return tr("step {step} was skipped at scale {before}").format(
                step=f"{step:,}", before=numbers.scale(float(scale.y[place]))
            )
        return tr("step {step} was skipped: scale {before} → {after}").format(
            step=f"{step:,}",
            before=numbers.scale(float(scale.y[place])),
            after=numbers.scale(float(scale.y[place + 1])),
        )

    def _validation_text(self, step: int) -> str:
        assert self.record is not None
        series = self.record.series["validation"]
        value = float(series.y[int(np.searchsorted(series.x, step))])
        return tr("validation after step {step}: loss {loss}").format(step=f"{step:,}", loss=numbers.number(value))

    def _verdict_text(self, step: int) -> str:
        assert self.record is not None
        return " ".join(verdict.sentence for verdict in self.record.verdicts if verdict.step == step)

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        near = self.event_near(self.place_of(event).x())
        self.overlay.setToolTip(near.text if near else "")

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        direction = {Qt.Key.Key_PageUp: -1, Qt.Key.Key_PageDown: 1}.get(Qt.Key(event.key()))
        if direction is None:
            super().keyPressEvent(event)
        elif (step := self._neighbour(direction)) is not None:
            self.timeline.move_cursor(step)

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
