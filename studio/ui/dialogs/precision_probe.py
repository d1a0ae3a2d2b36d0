"""The precision probe: every precision tried on this machine, one beside the other, and one click to take the best."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from studio.config import RunConfig
from studio.i18n import tr
from studio.runner.probe import DEFAULT_STEPS, ProbeResult, ProbeRow, precisions_in_order, probe
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.probe import RESULT, ProbeModel
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.table import comparison_table
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class PrecisionProbe(QDialog):
    """Measures as soon as it is opened. `taken` carries the name of the precision that the user takes."""

    taken = Signal(str)

    def __init__(self, context: AppContext, config: RunConfig, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Precision probe"))
        self._config = config
        self._job = Job(self, context, tr("Probing the precisions"))
        self._seen: list[ProbeRow] = []
        self.model = ProbeModel()
        self.table = comparison_table(self.model, tr("Precisions compared"), RESULT)
        self.verdict, self.progress = Verdict(), TaskProgress()
        self.again = push_button(tr("Measure again"), "plain", "refresh", tr("Try every precision once more"))
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.use = push_button(tr("Use it"), "primary", "check")
        for button in (self.again, self.leave, self.progress.cancel):
            button.setAutoDefault(False)
        self.use.setDefault(True)
        self._lay_out()
        self._connect()
        self.resize(theme.characters(170), theme.space(62))
        self.measure()

    def measure(self) -> None:
        """Start anew."""
        self._seen = []
        seen = self._seen
        config = self._config
        self._show_rows(measuring=True)
        self.verdict.set("")
        self._set_measuring(measuring=True)
        self.progress.report("starting", 0, 0)
        self.progress.cancel.setFocus()
        self._job.start(lambda progress: probe(config, DEFAULT_STEPS, progress, seen.append))

    def cancel(self) -> None:
        """Give up; what was measured stays in sight."""
        if self._job.running:
            self._job.drop()
            self._set_measuring(measuring=False)
            self._show_rows(measuring=False)
            self.verdict.set(tr("Cancelled. What was measured until then is shown."), "none")

    @property
    def chosen(self) -> ProbeRow | None:
        """The selected row, if it was measured."""
        selected = self.table.selectionModel().selectedRows()
        return self.model.row(selected[0].row()) if selected else None

    @override
    def done(self, result: int) -> None:
        """However the dialog ends, nothing goes on behind it."""
        self._job.drop()
        super().done(result)

    def _progressed(self, stage: str, done: int, total: int) -> None:
        self.progress.report(stage, done, total)
        if len(self._seen) > self.model.measured:
            self._show_rows(measuring=True)

    def _finished(self, result: ProbeResult) -> None:
        self._set_measuring(measuring=False)
        self.model.show(result.rows, measuring=False, recommended=result.recommended)
        self._fit_rows()
        self.verdict.set(result.reason, "bad" if result.recommended is None else "good")
        if result.recommended is not None:
            self._select(precisions_in_order().index(result.recommended))
            self.use.setFocus()

    def _failed(self, sentence: str) -> None:
        self._set_measuring(measuring=False)
        self._show_rows(measuring=False)
        self.verdict.set(sentence, "bad")

    def _set_measuring(self, *, measuring: bool) -> None:
        self.progress.setVisible(measuring)
        self.again.setEnabled(not measuring)
        self._offer()

    def _show_rows(self, *, measuring: bool) -> None:
        self.model.show(list(self._seen), measuring=measuring)
        self._fit_rows()

    def _fit_rows(self) -> None:
        self.table.resizeRowsToContents()
        self._offer()

    def _select(self, place: int) -> None:
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.table.selectionModel().setCurrentIndex(self.model.index(place, 0), flags)

    def _offer(self) -> None:
        """Offer the selected precision, if it works."""
        row = self.chosen
        works = row is not None and row.status == "measured"
        name = tr("Use {precision}").format(precision=row.title) if row is not None else tr("Use it")
        self.use.setText(f"\u00a0{name}")
        self.use.setAccessibleName(name)
        self.use.setEnabled(works)
        self.use.setToolTip(
            tr("Set this precision in the form") if works else tr("Select a precision that was measured and works.")
        )

    def _take(self) -> None:
        row = self.chosen
        if row is not None and row.status == "measured":
            self.taken.emit(row.precision)
            self.accept()

    def _connect(self) -> None:
        self.table.selectionModel().selectionChanged.connect(self._offer)
        self.table.doubleClicked.connect(self._take)
        self._job.finished.connect(self._finished)
        self._job.failed.connect(self._failed)
        self._job.progressed.connect(self._progressed)
        self.progress.cancelled.connect(self.cancel)
        self.again.clicked.connect(self.measure)
        self.leave.clicked.connect(self.reject)
        self.use.clicked.connect(self._take)

    def _lay_out(self) -> None:
        about = tr(
            "{count} updates of your model, data and method in every precision, from the same start and on the same "
            "rows. What differs is the arithmetic alone. Each runs in a process of its own, so a crash costs a row."
        ).format(count=DEFAULT_STEPS)
        foot = QHBoxLayout()
        foot.setSpacing(theme.space(1))
        foot.addWidget(self.again)
        foot.addStretch(1)
        foot.addWidget(self.leave)
        foot.addWidget(self.use)
        whole = QVBoxLayout(self)
        margin = theme.space(3)
        whole.setContentsMargins(margin, margin, margin, theme.space(2))
        whole.setSpacing(theme.space(1.5))
        whole.addWidget(label(tr("Which precision is best here?"), "title"))
        whole.addWidget(label(about, "muted", wrap=True))
        whole.addWidget(self.table, 1)
        whole.addWidget(self.progress)
        whole.addWidget(self.verdict)
        whole.addLayout(foot)
