"""What the heat map paints: its picture, and frames round the cells that are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPen
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget
from typing_extensions import override

from studio.ui import theme
from studio.ui.plots.overlay import Overlay

if TYPE_CHECKING:
    from studio.ui.plots.heatmap.heatmap import HeatMap


class HeatOverlay(Overlay):
    """Paints the cells and frames the one that is looked at; another frame stays on the one that was chosen."""

    def __init__(self, chart: HeatMap) -> None:
        super().__init__(chart.view)
        self._chart = chart
        self.image = QImage()
        self.covered: tuple[int, int] = (0, 0)

    @override
    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        if not self.message and not self.image.isNull():
            painter.setClipRect(self.boundingRect())
            top, bottom = self.height_of(-self.covered[0]), self.height_of(-self.covered[1])
            painter.drawImage(QRectF(0, top, self.view.width(), bottom - top), self.image)
            self._paint_frames(painter)
        super().paint(painter, option, widget)

    def _paint_frames(self, painter: QPainter) -> None:
        colours = theme.palette()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for frame, colour in ((self._chart.chosen_frame(), colours.accent), (self._chart.cell_frame(), colours.text)):
            if frame is not None:
                painter.setPen(QPen(colours.surface, 3))
                painter.drawRect(frame)
                painter.setPen(QPen(colour, 1))
                painter.drawRect(frame)
