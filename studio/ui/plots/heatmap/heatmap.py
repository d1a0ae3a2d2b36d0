"""Modules over steps: the largest |gradient| or |activation| of each, as a picture with a cell under the cursor."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QWidget

from studio.events import NumericsSampled
from studio.i18n import tr
from studio.runner.numerics import Direction, ModuleMatrix, Statistic, sample_at
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.heatmap import image
from studio.ui.plots.heatmap.axis import ModuleAxis
from studio.ui.plots.heatmap.colours import exponent_colours, share_colours
from studio.ui.plots.heatmap.words import cell_text, hottest, summary_text
from studio.ui.plots.overlay import Overlay
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import TimelinePlot
from studio.ui.plots.view import StepView


@dataclass(frozen=True)
class Cell:
    """One module from one sample to the next: steps `begin` up to `end`."""

    module: int
    begin: int
    end: int


class HeatOverlay(Overlay):
    """Paints the cells and frames the one that is looked at; another frame stays on the one that was chosen."""

    def __init__(self, view: StepView) -> None:
        super().__init__(view)
        self.image = QImage()
        self.modules: tuple[int, int] = (0, 0)  # the first in the image and the one after the last
        self.current: Cell | None = None
        self.chosen: Cell | None = None

    @override
    def _paint_content(self, painter: QPainter) -> None:
        if not self.image.isNull():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            top, bottom = (self.height_of(-module) for module in self.modules)
            painter.drawImage(QRectF(0, top, self.view.width(), bottom - top), self.image)
            self._paint_frame(painter, self.chosen, theme.palette().accent)
            self._paint_frame(painter, self.current, theme.palette().text)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        super()._paint_content(painter)

    def _paint_frame(self, painter: QPainter, cell: Cell | None, colour: QColor) -> None:
        if cell is None:
            return
        left, right = (float(self.view.pixel_of(step)) for step in (cell.begin, cell.end))
        top, bottom = self.height_of(-cell.module), self.height_of(-cell.module - 1)
        # A cell of less than a few pixels is framed all the same.
        wide, tall = max(right - left, 4.0), max(bottom - top, 4.0)
        frame = QRectF(round(left), round((top + bottom - tall) / 2), round(wide), round(tall))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.palette().surface, 3))
        painter.drawRect(frame)
        painter.setPen(QPen(colour, 1))
        painter.drawRect(frame)


NARROWEST_ROWS = 4
PAGE_OF_ROWS = 10


class HeatMap(TimelinePlot):
    """`chosen` says that a cell was clicked: its module and its step. The sample that holds at a step is its column.

    Keys: arrows move from cell to cell, Page Up and Down by ten modules, Enter chooses, + and - zoom, Home fits.
    Mouse: wheel and drag as in all charts, over the names they act on the modules.
    """

    overlay: HeatOverlay
    chosen = Signal(int, int)

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.matrix = ModuleMatrix("gradient", "largest")
        self.names: list[str] = []
        self.module: int | None = None
        self.choice: tuple[int, int] | None = None
        self.rows = ModuleAxis()
        super().__init__(tr("Modules over steps"), timeline, self.rows, HeatOverlay, parent)
        self.clicked.connect(self._click)

    def show_statistic(self, direction: Direction, statistic: Statistic) -> None:
        """Show another statistic of the modules."""
        self.matrix = ModuleMatrix(direction, statistic)
        self.refresh()

    def choose(self, module: int | None, step: int = 0) -> None:
        """Frame a cell until another one is chosen; the page shows its module's history."""
        self.choice = None if module is None else (module, step)
        self._place_cursor()

    def sample(self, step: int | None) -> NumericsSampled | None:
        """Return the sample whose column a step lies in; the newest one for None."""
        return sample_at(self.record.samples, step) if self.record else None

    def hottest(self) -> int | None:
        """Return the module to look at first: of the newest sample the first not finite, else the largest."""
        sample = self.sample(None)
        return None if sample is None else hottest(sample, self.matrix.direction)

    def take_in(self) -> None:
        """Take in the samples that are new, without drawing them yet."""
        names = self.record.numerics.modules if self.record and self.record.numerics else []
        samples = self.record.samples if self.record else []
        if names != self.names:
            self.names = list(names)
            self.rows.set_names(self.names)
            self.module, self.choice = None, None
        if len(samples) < len(self.matrix):  # the run went back to a checkpoint, or looks at other modules now
            self.matrix = ModuleMatrix(self.matrix.direction, self.matrix.statistic)
        self.matrix.grow(samples)

    @override
    def show_record(self, record: RunRecord | None) -> None:
        self.matrix = ModuleMatrix(self.matrix.direction, self.matrix.statistic)
        self.module, self.choice = None, None
        self.record = record
        self.take_in()
        super().show_record(record)

    @override
    def draw(self) -> None:
        super().draw()
        # Only now is it known how much room the axes leave.
        self.overlay.image = QImage() if self.overlay.message else self._paint_cells()

    @override
    def empty_message(self) -> str:
        if self.record is None or not (self.record.state.step or self.record.samples):
            return super().empty_message()
        if self.record.samples:
            return ""
        if self.record.numerics is None:
            return tr("This run does not look inside the model.\n“Record the numerics” in Setup switches that on.")
        return tr("Waiting for the first look inside the model…")

    @override
    def reading(self, step: int) -> str:
        sample = self.sample(step)
        if sample is None or self.module is None:
            return ""
        return cell_text(sample, self.names[self.module], self.module, self.matrix.direction)

    @override
    def summary(self) -> str:
        self.take_in()  # a sample may have come since the map was drawn
        sample = self.sample(None)
        if sample is None:
            return self.empty_message().strip()
        return summary_text(sample, self.names, self.matrix.direction, len(self.matrix))

    @override
    def _draw_content(self, fit: bool) -> None:
        self.take_in()
        if fit:
            rows = max(1, len(self.names))
            self.view.setLimits(yMin=-rows, yMax=0, minYRange=min(rows, NARROWEST_ROWS))
            self.view.setYRange(-rows, 0, padding=0)

    @override
    def _place_cursor(self) -> None:
        self.overlay.current = self._cell(self.module, self.timeline.cursor)
        self.overlay.chosen = self._cell(*self.choice) if self.choice else None
        super()._place_cursor()

    @override
    def _text_at_cursor(self) -> str:
        text = "" if self.timeline.cursor is None else self.reading(self.timeline.cursor)
        return text or self.summary()

    def _paint_cells(self) -> QImage:
        ratio = self.devicePixelRatioF()
        low, high = self.view.viewRange()[1]
        begin, end = max(0, math.floor(-high)), min(len(self.names), math.ceil(-low))
        columns, rows = max(1, round(self.view.width() * ratio)), max(1, round(self.view.height() * ratio))
        first, last = self.timeline.first, self.timeline.last
        edges = self.timeline.ruler.steps(np.linspace(first, last, columns + 1))
        cells = image.reduced(self.matrix, edges, (begin, end), rows)
        # Nothing is known of the steps after the newest.
        over = int(np.searchsorted(edges, self._newest + 1))
        cells[:, max(over, 1) :] = np.nan
        self.overlay.modules = begin, end
        if self.matrix.statistic == "largest":
            return image.picture(image.exponent_levels(cells), exponent_colours())
        return image.picture(image.share_levels(cells), share_colours())

    @property
    def _newest(self) -> int:
        """The newest step of which something is known: a sample comes before its step is over."""
        samples = self.record.samples if self.record else []
        return max(self.timeline.newest, samples[-1].step if samples else 0)

    def _cell(self, module: int | None, step: int | None) -> Cell | None:
        """Return the cell of a module that a step lies in."""
        sample = None if module is None or step is None else self.sample(step)
        if module is None or sample is None:
            return None
        place = bisect_right(self.matrix.begins, sample.step)
        end = self.matrix.begins[place] if place < len(self.matrix.begins) else self._newest + 1
        return Cell(module, sample.step, end)

    def _module_at(self, y: float) -> int | None:
        low, high = self.view.viewRange()[1]
        module = math.floor(-(high - y / max(1.0, self.view.height()) * (high - low)))
        return module if 0 <= module < len(self.names) else None

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self.place_of(event)
        self.module = self._module_at(place.y()) if self.view.rect().contains(place) else None
        super().mouseMoveEvent(event)
        self._place_cursor()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        sideways = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        rows = {
            Qt.Key.Key_Up: -1,
            Qt.Key.Key_Down: 1,
            Qt.Key.Key_PageUp: -PAGE_OF_ROWS,
            Qt.Key.Key_PageDown: PAGE_OF_ROWS,
        }.get(Qt.Key(event.key()))
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose_at(self.module, self.timeline.cursor)
        elif sideways or rows:
            self._move_cell(sideways or 0, rows or 0)
        else:
            super().keyPressEvent(event)

    def _move_cell(self, samples: int, modules: int) -> None:
        """Go to a neighbouring cell; the first key goes to the newest sample and the module to look at first."""
        if not len(self.matrix):
            return
        steps = self.matrix.steps
        at = self.timeline.cursor
        place = len(steps) - 1 if at is None else max(0, int(np.searchsorted(steps, at, side="right")) - 1)
        if self.module is None or at is None:
            self.module = self.choice[0] if self.choice else self.hottest() or 0
        else:
            place = min(max(place + samples, 0), len(steps) - 1)
            self.module = min(max(self.module + modules, 0), len(self.names) - 1)
        self._bring_into_view(self.module)
        self.timeline.move_cursor(int(steps[place]))
        self._place_cursor()

    def _bring_into_view(self, module: int) -> None:
        low, high = self.view.viewRange()[1]
        shift = min(0.0, -module - 1 - low) + max(0.0, -module - high)
        if shift:
            self._hold_values()
            self.view.setYRange(low + shift, high + shift, padding=0)
            self.refresh()

    def _click(self, place: QPointF) -> None:
        if self.view.rect().contains(place):
            self._choose_at(self._module_at(place.y()), round(self.view.step_at(place.x())))

    def _choose_at(self, module: int | None, step: int | None) -> None:
        sample = self.sample(step)
        if module is None or step is None or sample is None:
            return
        self.choose(module, sample.step)
        self.chosen.emit(module, sample.step)
