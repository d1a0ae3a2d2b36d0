"""What a run has come to: what it gained and lost, what it answers, and the rows that stand out."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHeaderView, QTableView, QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.text.retention import report_text
from studio.ui import theme
from studio.ui.models.outcome import AnswersModel, RowsModel
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.table import comparison_table
from studio.ui.widgets.text import label


class OutcomeWindow(QDialog):
    """A window beside the run, which goes on meanwhile. `row_opened` carries file and number of a row to look at."""

    row_opened = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Gained, kept and lost"))
        self.report = label("", "body", wrap=True)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.answers, self.rows = AnswersModel(), RowsModel()
        self._record: RunRecord | None = None
        asked = comparison_table(self.answers, tr("Answers"), 2)
        asked.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.ranked = comparison_table(self.rows, tr("Held-out rows"), 0)
        self.ranked.activated.connect(lambda index: self._open(index.row()))
        self._asked = _titled(tr("Answers, as they change"), asked)
        self._ranked = _titled(tr("Held-out rows: highest loss first, lowest last"), self.ranked)
        close = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        close.clicked.connect(self.accept)
        tables = hbox((self._asked, 5), (self._ranked, 2), spacing=2)
        vbox(
            self.report,
            (tables, 1),
            (close, 0, Qt.AlignmentFlag.AlignRight),
            spacing=2,
            margins=(3, 2.5, 3, 2),
            parent=self,
        )
        self.resize(theme.characters(150), theme.space(68))
        self.show_record(None)

    @property
    def has_content(self) -> bool:
        """Whether there is something to see."""
        return bool(self.report.text()) or self.answers.rowCount() > 0

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._record = record
        self.refresh()

    def refresh(self) -> None:
        """Show what the run has become."""
        record = self._record
        report = record.state.report if record else None
        self.report.setText(report_text(dataclasses.asdict(report)) if report else "")
        self.report.setVisible(report is not None)
        self.answers.show(record.answers if record else ())
        self.rows.show(record.ranked if record else None)
        self._asked.setVisible(self.answers.rowCount() > 0)
        self._ranked.setVisible(self.rows.rowCount() > 0)

    def _open(self, place: int) -> None:
        row = self.rows.rows[place]
        self.row_opened.emit(row["source"], row["number"])


def _titled(title: str, table: QTableView) -> QWidget:
    holder = QWidget()
    vbox(label(title, "caption"), table, spacing=0.5, parent=holder)
    return holder
