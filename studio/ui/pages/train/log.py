"""The run's log: bounded, monospaced, folded away until it is wanted."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.i18n import tr
from studio.runner.record import LOG_LINES, RunRecord
from studio.ui import theme
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.disclosure import Disclosure

VISIBLE_LINES = 5


class LogView(Disclosure):
    """Shows the newest lines of a record's log; while the end is in view, it stays in view."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Log"), parent)
        self.button.setToolTip(tr("Show or hide what the run has logged"))
        self.text = QPlainTextEdit(readOnly=True, maximumBlockCount=LOG_LINES)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName(tr("Log of the run"))
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(theme.space(2 * VISIBLE_LINES + 2))
        self.copy = push_button(tr("Copy the log"), "quiet", "copy", tr("Put the whole log on the clipboard"))
        self.copy.clicked.connect(lambda: theme.application().clipboard().setText(self.text.toPlainText()))
        self.content.addWidget(self.text)
        self.content.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignRight)
        self._record: RunRecord | None = None
        self._last: str | None = None

    def show_record(self, record: RunRecord | None) -> None:
        """Show the log of another run, or none."""
        self._record, self._last = record, None
        self.text.clear()
        self.refresh()

    def refresh(self) -> None:
        """Append what is new."""
        new = self._new_lines()
        if new:
            self._last = new[-1]
            self.text.appendPlainText("\n".join(new))

    def _new_lines(self) -> list[str]:
        """The log is bounded, so new lines are found from its end: up to the very line that was shown last."""
        new: list[str] = []
        for line in reversed(self._record.log if self._record else ()):
            if line is self._last:
                break
            new.append(line)
        return new[::-1]
