"""What a run has come to: what it gained and lost, what it answers, and the rows that stand out. Folded away."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QTableView, QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.text.retention import report_text
from studio.ui import theme
from studio.ui.models.outcome import AnswersModel, RowsModel
from studio.ui.models.table import TableModel
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.table import comparison_table
from studio.ui.widgets.text import label


class OutcomeView(Disclosure):
    """There from the first answer or measurement on. `row_opened` carries file and number of a row to look at."""

    row_opened = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Gained, kept and lost"), parent)
        self.button.setToolTip(tr("Show or hide what the model answers, and the rows it does best and worst on"))
        self.report = label("", "body", wrap=True)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.answers, self.rows = AnswersModel(), RowsModel()
        self._record: RunRecord | None = None
        asked, self.ranked = self._table(self.answers, tr("Answers"), 2), self._table(self.rows, tr("Rows"), 0)
        self.ranked.activated.connect(lambda index: self._open(index.row()))
        self._asked = _titled(tr("Answers, as they change"), asked)
        self._ranked = _titled(tr("Held-out rows: highest loss first, lowest last"), self.ranked)
        self.content.setSpacing(theme.space(1))
        self.content.addWidget(self.report)
        self.content.addLayout(hbox((self._asked, 5), (self._ranked, 3), spacing=2))
        self.show_record(None)

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
        self.setVisible(report is not None or self.answers.rowCount() > 0)

    def _open(self, place: int) -> None:
        row = self.rows.rows[place]
        self.row_opened.emit(row["source"], row["number"])

    def _table(self, model: TableModel, name: str, stretched: int) -> QTableView:
        table = comparison_table(model, name, stretched)
        table.setFixedHeight(theme.space(22))
        return table


def _titled(title: str, table: QTableView) -> QWidget:
    holder = QWidget()
    vbox(label(title, "caption"), table, spacing=0.5, parent=holder)
    return holder
