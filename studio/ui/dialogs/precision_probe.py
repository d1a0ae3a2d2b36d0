"""The precision probe: every precision tried on this machine, one beside the other, and one click to take the best."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.config import RunConfig
from studio.i18n import tr
from studio.runner.probe import DEFAULT_STEPS, ProbeResult, ProbeRow, precisions_in_order, probe
from studio.ui.bridge import AppContext
from studio.ui.dialogs.comparison import ComparisonDialog
from studio.ui.dialogs.guide import offer_guide
from studio.ui.models.probe import RESULT, ProbeModel
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.table import ComparisonTable, select_row, selected_row


class PrecisionProbe(ComparisonDialog):
    """Measures as soon as it is opened. `taken` carries the name of the precision that the user takes."""

    def __init__(self, context: AppContext, config: RunConfig, parent: QWidget | None = None) -> None:
        self.model = ProbeModel()
        table = ComparisonTable(self.model, tr("Precisions compared"), RESULT)
        super().__init__(context, tr("Precision probe"), tr("Probing the precisions"), table, parent)
        offer_guide(self, "precision", "choice")
        self._config = config
        self._seen: list[ProbeRow] = []
        self.progress = TaskProgress()
        self.again = push_button(tr("Measure again"), "plain", "refresh", tr("Try every precision once more"))
        for button in (self.again, self.progress.cancel):
            button.setAutoDefault(False)
        about = tr(
            "{count} updates of your model, data and method in every precision, from the same start and on the same "
            "rows. What differs is the arithmetic alone. Each runs in a process of its own, so a crash costs a row."
        )
        self._lay_out(
            tr("Which precision is best here?"),
            about.format(count=DEFAULT_STEPS),
            self.progress,
            self.verdict,
            hbox(self.again, STRETCH, self.leave, self.use, spacing=1),
        )
        self._job.finished.connect(self._finished)
        self._job.failed.connect(self._failed)
        self._job.progressed.connect(self._progressed)
        self.progress.cancelled.connect(self.cancel)
        self.again.clicked.connect(self.measure)
        resize_dialog(self, 170, 62)
        self.measure()

    def measure(self) -> None:
        """Measure every precision, from the start."""
        config, seen = self._config, list[ProbeRow]()
        self._seen = seen
        self._show_rows(measuring=True)
        self.verdict.set("")
        self.progress.report("starting", 0, 0)
        self.progress.cancel.setFocus()
        self._job.start(lambda progress: probe(config, DEFAULT_STEPS, progress, seen.append))

    def cancel(self) -> None:
        """Stop measuring, and keep showing what was measured."""
        if self._job.running:
            self._job.drop()
            self._show_rows(measuring=False)
            self.verdict.set(tr("Cancelled. What was measured until then is shown."), "none")

    @property
    def chosen(self) -> ProbeRow | None:
        """The selected row, if it was measured."""
        index = selected_row(self.table)
        return None if index is None else self.model.row(index.row())

    def _progressed(self, stage: str, done: int, total: int) -> None:
        self.progress.report(stage, done, total)
        if len(self._seen) > self.model.measured:
            self._show_rows(measuring=True)

    def _finished(self, result: ProbeResult) -> None:
        self._seen = list(result.rows)
        self._show_rows(measuring=False, recommended=result.recommended)
        self.verdict.set(result.reason, "bad" if result.recommended is None else "good")
        if result.recommended is not None:
            select_row(self.table, self.model.index(precisions_in_order().index(result.recommended), 0))
            self.use.setFocus()

    def _failed(self, sentence: str) -> None:
        self._show_rows(measuring=False)
        self.verdict.set(sentence, "bad")

    def _show_rows(self, *, measuring: bool, recommended: str | None = None) -> None:
        self.progress.setVisible(measuring)
        self.again.setEnabled(not measuring)
        self.model.show(list(self._seen), measuring=measuring, recommended=recommended)
        self.table.resizeRowsToContents()
        self._offer()

    @override
    def _offer(self) -> None:
        """Offer the selected precision, if it works."""
        row = self.chosen
        name = tr("Use {precision}").format(precision=row.title) if row else tr("Use it")
        if row and row.status == "measured":
            self._show_offer(name, row.precision, tr("Set this precision in the form"))
        else:
            self._show_offer(name, "", tr("Select a precision that was measured and works."))
