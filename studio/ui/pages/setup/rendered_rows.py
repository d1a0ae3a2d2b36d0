"""Shows a few rendered rows, one at a time, with their token counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.text.numbers import share_text
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.mask_preview import MaskPreview
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.data.inspect import RenderedRow


class RenderedRows(QWidget):
    """Shows the rows of a data inspection."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: Sequence[RenderedRow] = ()
        self._place = 0
        self.preview = MaskPreview()
        self.words = label("", "caption", wrap=True)
        self.back = icon_button("chevron-left", tr("Previous row"))
        self.on = icon_button("chevron-right", tr("Next row"))
        self.back.clicked.connect(lambda: self._turn(-1))
        self.on.clicked.connect(lambda: self._turn(1))
        line = hbox((self.words, 1), self.back, self.on, spacing=0.5)
        vbox(self.preview, line, spacing=0.5, parent=self)

    def show_rows(self, rows: Sequence[RenderedRow]) -> None:
        """Show other rows, the first of them first."""
        self._rows, self._place = rows, 0
        self._turn(0)

    def _turn(self, by: int) -> None:
        self._place += by
        self.back.setEnabled(self._place > 0)
        self.on.setEnabled(self._place + 1 < len(self._rows))
        if not self._rows:
            return
        row = self._rows[self._place]
        self.preview.show_segments(row.segments)
        self.words.setText(_words(row))


def _words(row: RenderedRow) -> str:
    if not row.tokens:
        return tr("Row {number}, as text; choose a model to see its tokens").format(number=row.number)
    return tr("Row {number}: {tokens} tokens, of which {learnt} are learnt ({share}, underlined)").format(
        number=row.number,
        tokens=f"{row.tokens:,}",
        learnt=f"{row.supervised_tokens:,}",
        share=share_text(row.supervised_tokens, row.tokens),
    )
