"""The forms of export as cards of which one is chosen, each with what it is and when to take it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QEnterEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from studio.engine.export import Target
from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import label


class TargetCard(QAbstractButton):
    """One target; the arrow keys go from one to the next.

    A card that cannot be taken says why. What a target is stands in the card that is chosen, and in the tooltips of the
    others, so that all of them and the button fit the page.
    """

    def __init__(self, target: Target, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.target = target
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._explanation = label("", "caption", wrap=True)
        parts = (label(tr(target.title), "value"), self._explanation)
        for part in parts:
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        vbox(*parts, spacing=0.4, margins=(4, 1.25, 1.5, 1.25), parent=self)
        theme.notifier().changed.connect(self.update)
        self.toggled.connect(self._show_explanation)
        self.refuse("")

    def refuse(self, reason: str) -> None:
        """Say why this target cannot be taken; an empty reason offers it."""
        self.reason = reason
        explanation = reason or tr(self.target.explanation)
        self.setEnabled(not reason)
        self._explanation.setText(explanation)
        self.setAccessibleName(tr(self.target.title))
        self.setAccessibleDescription(explanation)
        self.setToolTip(explanation)
        self._show_explanation()

    def _show_explanation(self) -> None:
        explained = self.isChecked() or bool(self.reason)
        self._explanation.setVisible(explained)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(explained)  # one line alone has no such height: Qt would lay it out without any
        self.setSizePolicy(policy)

    @override
    def sizeHint(self) -> QSize:
        layout = self.layout()
        return layout.sizeHint() if layout else super().sizeHint()

    @override
    def hasHeightForWidth(self) -> bool:
        return self.sizePolicy().hasHeightForWidth()

    @override
    def heightForWidth(self, width: int) -> int:
        layout = self.layout()
        return layout.heightForWidth(width) if layout else -1

    @override
    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self.update()

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours = theme.palette()
        chosen, focused = self.isChecked(), self.hasFocus()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(colours.accent if chosen or focused else colours.border, 2 if focused else 1))
        hovered = self.underMouse() and self.isEnabled()
        painter.setBrush(colours.accent_soft if chosen else colours.raised if hovered else colours.surface)
        radius = theme.space(1)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), radius, radius)
        self._paint_circle(painter, chosen)
        painter.end()

    def _paint_circle(self, painter: QPainter, chosen: bool) -> None:
        colours = theme.palette()
        centre, radius = QPointF(theme.space(2), theme.space(2.2)), theme.space(0.85)
        painter.setBrush(colours.surface)
        painter.setPen(QPen(colours.accent if chosen else colours.control, 1.5))
        painter.drawEllipse(centre, radius, radius)
        if chosen:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colours.accent)
            painter.drawEllipse(centre, radius * 0.5, radius * 0.5)
