"""What the heat map paints: its picture, and frames round the cells that are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from typing_extensions import override

from studio.ui import theme
from studio.ui.plots.overlay import Overlay
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
