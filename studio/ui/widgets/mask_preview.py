"""Shows a training row as the model sees it, with the tokens it learns from marked."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent
from PySide6.QtGui import QFont, QFontDatabase, QTextCharFormat
from PySide6.QtWidgets import QFrame, QTextEdit, QWidget

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override

MOST_CHARACTERS = 8000


class MaskPreview(QTextEdit):
    """Read-only text; what is learnt has a colour and an underline, so that colour is not the only carrier."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(tr("The row as the model reads it; what it learns is underlined"))
        self.document().setDefaultFont(fixed_font())
        self._segments: Sequence[tuple[str, bool]] = ()
        self.setFixedHeight(theme.space(18))
        theme.notifier().changed.connect(self._write)

    def show_segments(self, segments: Sequence[tuple[str, bool]]) -> None:
        """Show (text, learnt) pieces in order; a very long row is cut, and says so."""
        self._segments = segments
        self._write()

    def _write(self) -> None:
        self.clear()
        cursor = self.textCursor()
        room = MOST_CHARACTERS
        for text, learnt in self._segments:
            cursor.insertText(text[:room], segment_format(learnt))
            room -= len(text)
            if room <= 0:
                cursor.insertText(tr(" … (cut here for display)"), segment_format())
                break
        self.verticalScrollBar().setValue(0)

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._segments:
            self._write()


def fixed_font() -> QFont:
    """Return the font of text as the model reads it."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPointSizeF(theme.points(theme.CAPTION))
    return font


def segment_format(learnt: bool = False, special: bool = False) -> QTextCharFormat:
    """Return how a part of a row looks: underlined where it is learnt, bold where it is a special token."""
    style = QTextCharFormat()
    colours = theme.palette()
    style.setFont(fixed_font())
    style.setForeground(colours.series_4 if special else colours.accent if learnt else colours.muted)
    if special:
        style.setFontWeight(QFont.Weight.DemiBold)
        style.setBackground(colours.raised)
    if learnt:
        style.setBackground(colours.accent_soft)
        style.setUnderlineStyle(QTextCharFormat.UnderlineStyle.DotLine)  # a whole line would hide every "_"
    return style
