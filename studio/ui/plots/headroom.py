"""The headroom gauge: how many times the loss scale can double before the largest recorded gradient overflows fp16."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.i18n import tr, trn
from studio.text import numbers
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.verdict import Level

# One segment a doubling; more headroom than the gauge has segments fills it.
SEGMENTS = 16
# So little is left that one large gradient skips a step.
TIGHT = 2


class HeadroomGauge(QWidget):
    """A row of segments, one for each doubling that is left; an overflow turns the first one red."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.doublings: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(tr("Headroom"))
        theme.notifier().changed.connect(self.update)

    def set_headroom(self, headroom: float | None) -> None:
        """Show `studio.runner.numerics.headroom`, or nothing while it is not known."""
        self.doublings = whole_doublings(headroom)
        self.setAccessibleDescription(headroom_text(headroom))
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.space(14), theme.space(2))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours = theme.palette()
        gap = max(1, theme.space(0.25))
        width = (self.width() - gap * (SEGMENTS - 1)) / SEGMENTS
        filled = min(SEGMENTS, max(0, self.doublings or 0))
        over = self.doublings is not None and self.doublings < 0
        shade = colours.warning if self.doublings is not None and filled <= TIGHT else colours.accent
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for segment in range(SEGMENTS):
            colour = colours.bad if over and not segment else shade if segment < filled else colours.border
            painter.setPen(colour)
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(segment * (width + gap), 0.5, width - 1, self.height() - 1), 1.0, 1.0)
        painter.end()


def whole_doublings(headroom: float | None) -> int | None:
    """Return how many whole doublings are left; -1 when there is an overflow already, None when it is not known."""
    if headroom is None or math.isnan(headroom):
        return None
    if math.isinf(headroom):
        return -1 if headroom < 0 else SEGMENTS
    return math.floor(headroom)


def headroom_text(headroom: float | None) -> str:
    """Return the headroom in a few words."""
    doublings = whole_doublings(headroom)
    if doublings is None:
        return numbers.NONE
    if doublings < 0:
        return tr("overflow")
    if headroom == math.inf:
        return tr("unlimited")
    return trn("{count} doubling", "{count} doublings", doublings).format(count=doublings)


def headroom_level(headroom: float | None) -> Level | None:
    """Return the level that colours the words."""
    doublings = whole_doublings(headroom)
    if doublings is None or doublings > TIGHT:
        return None
    return "bad" if doublings < 0 else "warning"
