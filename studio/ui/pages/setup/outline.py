"""The outline of the Setup page: one entry for each card, with its sign; a click scrolls to the card."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QFrame, QGridLayout, QLabel, QSizePolicy, QWidget

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import sign_pixmap


class OutlineEntry(QAbstractButton):
    """One card: its sign, its title, and its summary in a line."""

    def __init__(self, card: SectionCard) -> None:
        super().__init__()
        self.card = card
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._sign = QLabel()
        self._title = label(card.title.text(), "value")
        self._words = ElidedLabel("", "caption")
        grid = QGridLayout(self)
        margin = theme.space(0.75)
        grid.setContentsMargins(margin, margin, margin, margin)
        grid.setHorizontalSpacing(theme.space(1))
        grid.setVerticalSpacing(0)
        grid.addWidget(self._sign, 0, 0)
        grid.addWidget(self._title, 0, 1)
        grid.addWidget(self._words, 1, 1)
        grid.setColumnStretch(1, 1)
        for part in (self._sign, self._title, self._words):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.refresh()

    def refresh(self) -> None:
        """Show what the card says now."""
        level = self.card.verdict[1]
        self._sign.setPixmap(sign_pixmap(level, self._title.fontMetrics().height(), self.devicePixelRatioF()))
        words = self.card.brief or tr("Not set yet")
        self._words.set_text(words)
        self.setAccessibleName(tr("{name}: {value}").format(name=self._title.text(), value=words))

    @override
    def sizeHint(self) -> QSize:
        layout = self.layout()
        assert layout is not None
        return layout.sizeHint()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.setPen(QPen(theme.palette().accent, 2) if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(theme.palette().raised if self.underMouse() else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area, theme.space(0.75), theme.space(0.75))
        painter.end()


class Outline(QFrame):
    """`chosen` carries the card whose entry was clicked."""

    chosen = Signal(object)

    def __init__(self, cards: Iterable[SectionCard], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.entries = [OutlineEntry(card) for card in cards]
        self.setProperty("kind", "card")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Maximum)
        vbox(*self.entries, spacing=0.25, margins=1, parent=self)
        for entry in self.entries:
            entry.clicked.connect(lambda _=False, card=entry.card: self.chosen.emit(card))
        theme.notifier().changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show what the cards say now."""
        for entry in self.entries:
            entry.refresh()
