"""The histogram of exponents with a scale line to drag: figure 3 of arXiv 1710.03740, live.

Above, the numbers as they are once multiplied by the scale, among the zones of the format. Below, every scale at once:
what share would be flushed to zero and what would overflow. Dragging either moves the scale.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.exponents import FP16, Format, Histogram, Shares
from studio.i18n import sentences, tr
from studio.runner.numerics import best_scales
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.exponents.layout import Layout, layout_of
from studio.ui.plots.exponents.paint import ExponentPainter
from studio.ui.plots.exponents.words import best_text, recorded_text, shares_text
from studio.ui.widgets.empty import paint_message

# The scales that are offered unless the present or the best one lies beyond, as exponents of two.
FIRST_SCALE, LAST_SCALE = 0, 32
FAR = 4


class ExponentView(QWidget):
    """Shows one histogram at one loss scale: the present one, until the user drags to another.

    Left and Right halve and double the scale, Page Down and Page Up by 2⁴; Home goes back to the present scale, End to
    the best one.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.histogram: Histogram | None = None
        self.recorded: float | None = None
        self.fmt: Format = FP16
        self.best: tuple[int, int] | None = None
        self.message = ""
        self.explored: int | None = None
        self._curves: tuple[Shares, ...] = ()
        self._grasp: tuple[QPointF, float] | None = None
        self._largest = math.nan
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(theme.space(14))
        self.setAccessibleName(tr("Exponents of the gradients, with the loss scale to move"))
        self.setCursor(Qt.CursorShape.SizeHorCursor)
        theme.notifier().changed.connect(self.update)

    @property
    def present(self) -> float:
        """The scale that the numbers were recorded at; 1 where the loss is not scaled."""
        return self.recorded or 1.0

    @property
    def scale(self) -> float:
        """The scale that is shown."""
        return self.present if self.explored is None else 2.0**self.explored

    @property
    def shares(self) -> Shares | None:
        """What the format does to the numbers at the shown scale."""
        return None if self.histogram is None else self.histogram.shares(self.scale, self.fmt)

    @property
    def range(self) -> tuple[int, int]:
        """The exponents of the smallest and the largest scale offered."""
        present = math.log2(self.present)
        low = min(FIRST_SCALE, math.floor(present))
        high = max(LAST_SCALE, math.ceil(present) + 2)
        best = self.best if self.fmt is FP16 else None
        return low, (max(high, min(best[1] + 2, 126)) if best else high)

    @property
    def curves(self) -> tuple[Shares, ...]:
        """The shares at every power of two within `range`."""
        if not self._curves and self.histogram is not None:
            low, high = self.range
            self._curves = tuple(self.histogram.shares(2.0**k, self.fmt) for k in range(low, high + 1))
        return self._curves

    def show_histogram(
        self, histogram: Histogram | None, recorded: float | None, largest: float = math.nan, message: str = ""
    ) -> None:
        """Show another histogram, recorded at a loss scale (None: not scaled); or a message where there is none.

        `largest`: of all products, unscaled, which bounds the best scales.
        """
        self.histogram, self.recorded, self.message = histogram, recorded, message
        self._largest = largest
        self._renew()

    def show_format(self, fmt: Format) -> None:
        """Draw the zones of another format."""
        self.fmt = fmt
        self._renew()

    def explore(self, exponent: float | None) -> None:
        """Show what the scale 2^exponent, rounded to a whole power, would do; None goes back to the present scale."""
        if self.histogram is None:
            return
        low, high = self.range
        self.explored = None if exponent is None else min(max(round(exponent), low), high)
        self._tell()

    def words(self) -> str:
        """Return the picture in words."""
        if self.histogram is None or self.shares is None:
            return self.message
        said = (
            shares_text(self.shares, self.histogram.total, self.scale, self.fmt),
            best_text(self.best, self.fmt),
            recorded_text(self.histogram, self.recorded, self.scale),
        )
        return sentences(said)

    def places(self) -> Layout:
        """Return where everything is drawn."""
        return layout_of(self.width(), self.height(), self.range)

    def _renew(self) -> None:
        self.best = None if self.histogram is None else best_scales(self.histogram, self._largest, self.fmt)
        self._curves = ()
        if self.explored is not None:
            self.explored = min(max(self.explored, self.range[0]), self.range[1])
        self._tell()

    def _tell(self) -> None:
        self.setAccessibleDescription(self.words())
        self.update()
        self.changed.emit()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.characters(60), theme.space(22))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self.histogram is None:
            paint_message(painter, QRectF(self.rect()), self.message)
        else:
            ExponentPainter(
                painter=painter,
                places=self.places(),
                histogram=self.histogram,
                fmt=self.fmt,
                scale=self.scale,
                present=self.present,
                best=self.best,
                curves=self.curves,
                focused=self.hasFocus(),
            ).paint()
        painter.end()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton or self.histogram is None:
            return
        places = self.places()
        if places.plot.contains(event.position()):
            self._grasp = event.position(), math.log2(self.scale)
        else:
            self.explore(places.scale_at(event.position().x()))

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if not event.buttons() & Qt.MouseButton.LeftButton:
            return
        if self._grasp is None:
            self.explore(self.places().scale_at(event.position().x()))
            return
        begin, exponent = self._grasp
        self.explore(exponent + (event.position().x() - begin.x()) / self.places().exponent_width)

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grasp = None

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.explore(None)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_PageDown: -FAR, Qt.Key.Key_PageUp: FAR}
        if key in steps:
            self.explore(math.log2(self.scale) + steps[key])
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_Escape) and self.explored is not None:
            self.explore(None)
        elif key == Qt.Key.Key_End and self.best is not None:
            self.explore(self.best[1])
        else:
            event.ignore()

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()
