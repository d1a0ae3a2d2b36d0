"""Names of strangers are drawn as they are written: no label reads its text as HTML unless our own code says so.

Qt guesses. A model called `<img src="file:///…">` would be an image in tooltips and message boxes, fetched as they are
shown. Those make their labels themselves, so the rule stands where every label passes: at its first polish, which comes
before it is measured or painted. Characters that would turn the direction of our own words are written out there, too.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QLabel

from studio.text.visible import visible
from studio.ui import theme
from studio.ui.override import override


class PlainText(QObject):
    """Makes every label of the application plain text that is to guess what it shows, and all that it shows visible.

    It does so for as long as its parent lives.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        theme.application().installEventFilter(self)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # Every event of the application comes here; its type, an enum, takes longer to look at than the label's class.
        if not isinstance(watched, QLabel) or event.type() not in (QEvent.Type.Polish, QEvent.Type.Paint):
            return False
        if watched.textFormat() == Qt.TextFormat.AutoText:
            watched.setTextFormat(Qt.TextFormat.PlainText)
        if (shown := visible(watched.text())) != watched.text():
            watched.setText(shown)
        return False
