"""What the comparisons of methods and of precisions share: a table of rows, of which the user can take one."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QTableView, QWidget

from studio.i18n import tr
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import Part, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class ComparisonDialog(QDialog):
    """`taken` carries the name of the row that the user takes. A subclass says in `_offer` which rows can be taken.

    Args:
        work: what the background work of the dialog does, in words.
    """

    taken = Signal(str)

    def __init__(self, context: AppContext, title: str, work: str, table: QTableView, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self._job = Job(self, context, work)
        self._takes = ""
        self.table, self.verdict = table, Verdict()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.use = push_button("", "primary", "check")
        self.leave.setAutoDefault(False)
        self.use.setDefault(True)
        table.selectionModel().selectionChanged.connect(self._offer)
        table.doubleClicked.connect(self._take)
        self.leave.clicked.connect(self.reject)
        self.use.clicked.connect(self._take)

    @override
    def done(self, result: int) -> None:
        """Stop the background work, however the dialog ends."""
        self._job.drop()
        super().done(result)

    def _lay_out(self, question: str, about: str, *parts: Part) -> None:
        heading = (label(question, "title"), label(about, "muted", wrap=True))
        vbox(*heading, (self.table, 1), *parts, spacing=1.5, margins=(3, 3, 3, 2), parent=self)

    def _offer(self) -> None:
        """Offer the selected row with `_show_offer`."""
        raise NotImplementedError

    def _show_offer(self, words: str, takes: str, tooltip: str) -> None:
        """Put words on the button that takes a row; `takes` is the name of the row, empty when it cannot be taken."""
        self._takes = takes
        self.use.setText(f"\u00a0{words}")
        self.use.setAccessibleName(words)
        self.use.setEnabled(bool(takes))
        self.use.setToolTip(tooltip)

    def _take(self) -> None:
        if self._takes:
            self.taken.emit(self._takes)
            self.accept()
