"""What a run has come to: what it gained and lost, what it answers, and the rows that stand out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QTableView, QWidget

from studio.i18n import tr
from studio.runner import actions
from studio.runner.record import RunRecord
from studio.text.retention import outcome_text, remedies_text
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.xray.dialog import XRayDialog
from studio.ui.models.outcome import AnswersModel, RowsModel
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.table import ComparisonTable, selected_row
from studio.ui.widgets.text import label


class OutcomeWindow(QDialog):
    """A window beside the run, which goes on meanwhile."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self.setWindowTitle(tr("Gained, kept and lost"))
        offer_guide(self, "forgetting", "measure")
        self.report = label("", "body", wrap=True)
        self.remedies = label("", "body", wrap=True)
        for words in (self.report, self.remedies):
            words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.answers, self.rows = AnswersModel(), RowsModel()
        self._record: RunRecord | None = None
        asked = ComparisonTable(self.answers, tr("Answers"))
        self.ranked = ComparisonTable(self.rows, tr("Held-out rows"), 0)
        self.look_closer = push_button(
            tr("See them in the X-ray …"),
            "plain",
            tooltip=tr("See these rows as the model reads them: wrong labels show at the highest losses"),
        )
        self.look_closer.clicked.connect(self.open_xray)
        self.ranked.activated.connect(self.open_xray)
        self.xray: XRayDialog | None = None
        self._asked = _titled(tr("Answers, as they change"), asked)
        self._ranked = _titled(tr("Held-out rows: highest loss first, lowest last"), self.ranked)
        close = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        close.clicked.connect(self.accept)
        tables = hbox((self._asked, 5), (self._ranked, 3), spacing=2)
        buttons = hbox(STRETCH, self.look_closer, close, spacing=1)
        vbox(self.report, self.remedies, (tables, 1), buttons, spacing=2, margins=(3, 2.5, 3, 2), parent=self)
        self.show_record(None)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Take its first size only now: the main window, which limits it, had none when this one was made."""
        if not self.testAttribute(Qt.WidgetAttribute.WA_Resized):
            resize_dialog(self, 150, 68)
        super().showEvent(event)

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
        self.report.setText(outcome_text(dataclasses.asdict(report)) if report else "")
        self.remedies.setText(remedies_text(report.remedies) if report else "")
        for words in (self.report, self.remedies):
            words.setVisible(bool(words.text()))
        self.answers.show(record.answers if record else ())
        self.rows.show(record.ranked if record else None)
        self._asked.setVisible(self.answers.rowCount() > 0)
        self._ranked.setVisible(self.rows.rowCount() > 0)
        self.look_closer.setVisible(self.rows.rowCount() > 0)

    def open_xray(self) -> None:
        """Show the listed rows of the file of the selected one, or of the first, in the X-ray."""
        record, selected = self._record, selected_row(self.ranked)
        if record is None or self.xray is not None or not self.rows.rows:
            return
        path = self.rows.rows[selected.row() if selected else 0]["source"]
        config = record.configs[-1][1] if record.configs else None
        if config is None:
            return
        self.xray = XRayDialog(self._context, Path(path).name, None, self)
        numbers = [row["number"] for row in self.rows.rows if row["source"] == path]
        self.xray.show_numbers(tr("Highest and lowest loss"), numbers)
        self.xray.finished.connect(self._close_xray)
        self.xray.read(lambda progress: actions.open_xray_of_run(config, path, progress))
        self.xray.open()

    def _close_xray(self) -> None:
        if self.xray is not None:
            self.xray.deleteLater()
            self.xray = None


def _titled(title: str, table: QTableView) -> QWidget:
    holder = QWidget()
    vbox(label(title, "caption"), table, spacing=0.5, parent=holder)
    return holder
