"""What stands where there is nothing to show yet: on a page with the way out, in a picture as words."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from studio.i18n import tr
from studio.ui import icons, theme
from studio.ui.bridge import AppContext
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.text import label


def paint_message(painter: QPainter, room: QRectF, text: str) -> None:
    """Write in the middle of a picture's room why there is nothing to see."""
    painter.setPen(theme.palette().muted)
    painter.setFont(theme.application().font())
    painter.drawText(room, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), text)


class EmptyState(QWidget):
    """A picture, a heading and a sentence in the middle; add buttons with `add`."""

    def __init__(self, icon: str, heading: str, sentence: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "page")
        self._icon = icon
        self._picture = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        words = label(sentence, "muted", wrap=True)
        words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._column = QVBoxLayout(self)
        self._column.setSpacing(theme.space(1.25))
        self._column.addStretch(2)
        title = label(heading, "title")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        for widget in (self._picture, title, words):
            self._column.addWidget(widget)
        self._column.addSpacing(theme.space(1))
        self._column.addStretch(3)
        self.setAccessibleName(f"{heading}. {sentence}")
        theme.notifier().changed.connect(self._paint)
        self._paint()

    def add(self, widget: QWidget) -> None:
        """Put a button below the sentence."""
        self._column.insertWidget(self._column.count() - 1, widget, 0, Qt.AlignmentFlag.AlignHCenter)

    def _paint(self) -> None:
        colour = theme.palette().names()["control"]
        self._picture.setPixmap(icons.pixmap(self._icon, colour, theme.space(6), self.devicePixelRatioF()))


class NoRun(EmptyState):
    """Offers to set a run up and, where `past_runs`, to open one of the past."""

    def __init__(self, context: AppContext, icon: str, heading: str, sentence: str, *, past_runs: bool = True) -> None:
        super().__init__(icon, heading, sentence)
        self.set_up = push_button(tr("Set one up"), "primary", "setup", tr("Go to the Setup page"))
        self.set_up.clicked.connect(lambda: context.go_to("setup"))
        self.add(self.set_up)
        if past_runs:
            look_back = push_button(tr("Open a past run"), "quiet", tooltip=tr("Go to the Runs page"))
            look_back.clicked.connect(lambda: context.go_to("runs"))
            self.add(look_back)
