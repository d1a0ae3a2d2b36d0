"""A page of rows as the model sees them: what is learnt, what is only read, and the special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QLabel, QTextEdit, QWidget

from studio.i18n import tr, trn
from studio.text.numbers import share_text
from studio.ui import theme
from studio.ui.widgets.mask_preview import fixed_font, segment_format

if TYPE_CHECKING:
    from studio.engine.data.xray import XRayRow

_MOST_MARKS = 500


class RowsView(QTextEdit):
    """Read-only; the arrow keys and the page keys scroll it, Tab leaves it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setTabChangesFocus(True)
        self.setProperty("kind", "card")
        self.setAccessibleName(tr("Rows as the model reads them; what it learns is underlined"))
        self.document().setDefaultFont(fixed_font())
        self.document().setDocumentMargin(theme.space(1.5))
        self._rows: Sequence[XRayRow] = ()
        self._room, self._marked = 0, ""
        theme.notifier().changed.connect(self._write)

    def show_rows(self, rows: Sequence[XRayRow], room: int, marked: str = "") -> None:
        """Show other rows.

        Args:
            room: characters that are shown of a row at most.
            marked: a text that is marked wherever it stands, whatever its case.
        """
        self._rows, self._room, self._marked = rows, room, marked
        self._write()

    def _write(self) -> None:
        self.setExtraSelections([])
        self.clear()
        cursor = QTextCursor(self.document())
        cursor.beginEditBlock()
        for place, row in enumerate(self._rows):
            _write_row(cursor, row, self._room, first=place == 0)
        cursor.endEditBlock()
        self._mark()
        self.verticalScrollBar().setValue(0)

    def _mark(self) -> None:
        """Mark the text that was searched, and scroll to where it first stands."""
        marks: list[QTextEdit.ExtraSelection] = []
        found = self.document().find(self._marked) if self._marked else QTextCursor()
        while not found.isNull() and len(marks) < _MOST_MARKS:
            mark = QTextEdit.ExtraSelection()
            mark.cursor = found
            style = QTextCharFormat()
            style.setBackground(theme.palette().warning)
            style.setForeground(theme.palette().surface)
            mark.format = style
            marks.append(mark)
            found = self.document().find(self._marked, found)
        self.setExtraSelections(marks)


class Legend(QLabel):
    """What the colours and lines of a row mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setProperty("role", "caption")
        self.setWordWrap(True)
        theme.notifier().changed.connect(self._write)
        self._write()

    def _write(self) -> None:
        colours = theme.palette().names()
        ground = colours["accent_soft"]
        parts = (
            f'<span style="color: {colours["accent"]}; background: {ground}"><u>{tr("learnt")}</u></span>',
            f'<span style="color: {colours["muted"]}">{tr("read, not learnt")}</span>',
            f'<span style="color: {colours["series_4"]}"><b>{tr("special token")}</b></span>',
            f'<span style="color: {colours["muted"]}">↵ {tr("end of a line")}</span>',
        )
        self.setText(" &nbsp; · &nbsp; ".join(parts))


def _write_row(cursor: QTextCursor, row: XRayRow, room: int, *, first: bool) -> None:
    colours = theme.palette()
    block = QTextBlockFormat()
    block.setTopMargin(0 if first else theme.space(2.5))
    block.setBottomMargin(theme.space(0.5))
    heading = QTextCharFormat()
    heading.setFont(theme.caption_font())
    heading.setFontWeight(QFont.Weight.DemiBold)
    heading.setForeground(colours.text)
    if first:
        cursor.setBlockFormat(block)
    else:
        cursor.insertBlock(block)
    cursor.insertText(_number_text(row), heading)
    heading.setFontWeight(QFont.Weight.Normal)
    heading.setForeground(colours.muted)
    cursor.insertText(f"   {counts_text(row)}", heading)
    if row.reason is not None or row.lost:
        heading.setForeground(colours.warning)
        cursor.insertText(f"   {_trouble_text(row)}", heading)
    cursor.insertBlock(QTextBlockFormat(), QTextCharFormat())
    last = row.segments[-1] if row.segments else None
    for segment in row.segments:
        # Where a line ends is a token too. U+2028 begins a line, but no new block with its margins.
        text = segment.text[:room].replace("\n", "↵\u2028")
        text = text.removesuffix("\u2028") if segment is last else text
        cursor.insertText(text, segment_format(segment.learnt, segment.special))
        room -= len(segment.text)
        if room <= 0:
            cursor.insertText(tr(" … (cut here for display)"), heading)
            return


def _number_text(row: XRayRow) -> str:
    if row.parts == 1:
        return tr("Row {number}").format(number=f"{row.number:,}")
    words = tr("Row {number}, part {part} of {parts}")
    return words.format(number=f"{row.number:,}", part=row.part, parts=row.parts)


def counts_text(row: XRayRow) -> str:
    """Return how many tokens a row has and how many are learnt; nothing for a row that is skipped."""
    if row.reason is not None:
        return ""
    words = trn("{tokens} token, {learnt} learnt ({share})", "{tokens} tokens, {learnt} learnt ({share})", row.tokens)
    share = share_text(row.learnt, row.tokens)
    return words.format(tokens=f"{row.tokens:,}", learnt=f"{row.learnt:,}", share=share)


def _trouble_text(row: XRayRow) -> str:
    if row.reason is not None:
        return tr("Skipped: {reason}").format(reason=row.reason.text())
    return trn("Cut: its last token is lost", "Cut: its last {lost} tokens are lost", row.lost).format(
        lost=f"{row.lost:,}"
    )
