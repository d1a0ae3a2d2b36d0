"""The Export page: merge, write, read back, compare, and say in plain words what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QListView, QScrollArea, QWidget

from studio.i18n import tr
from studio.runner import actions
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.exports import ExportsModel, PastExport, read_exports
from studio.ui.models.run_summary import RunSummary, read_summaries
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.export.certificate import CertificateView
from studio.ui.pages.export.form import ExportForm
from studio.ui.pages.export.gguf import FormatsCard, OllamaCard
from studio.ui.pages.export.latency import LatencyCard
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.export.run import ExportResult

_NARROW_CHARACTERS = 95
_LOW = 36  # units of `theme.space` that a certificate needs below the form


class ExportPage(Page):
    """Shows the run of the other pages first; any other that has ended can be chosen."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("export_page")
        self.setAccessibleName(tr("Export"))
        self._context = context
        self._shown: Path | None = None
        self._narrow = False
        self.form, self.certificate = ExportForm(), CertificateView(context)
        self.exports = ExportsModel()
        self.latency = LatencyCard(context)
        self.formats, self.ollama = FormatsCard(), OllamaCard(context)
        self.past = QListView()
        self.restored = label("", "muted", wrap=True)
        self._export = Job(self, context, tr("Exporting"))
        self._read_runs = Job(self, context, tr("Reading the runs"))
        self._read_exports = Job(self, context, tr("Reading the exports"))
        self._read_sizes = Job(self, context, tr("Reading the base model"))
        self._lay_out()
        self._connect()

    @override
    def show_record(self, record: RunRecord | None) -> None:
        """Choose the run that the other pages show, if it can be exported."""
        if self.isVisible():
            self.reload()

    def reload(self) -> None:
        """Read anew, in the background, which runs can be exported. While one is exported, it stays chosen."""
        root = self._context.runs_root
        if not self._export.running:
            self._read_runs.start(lambda progress: read_summaries(root, progress))

    def start(self) -> None:
        """Export the chosen run in the chosen form, in the background."""
        folder, target, dtype = self.form.folder, self.form.target.name, self.form.dtype.value()
        if folder is None:
            return
        self.form.progress.report("starting", 0, 0)
        self._tell_restored("")
        # The button that was pressed is switched off: Qt would hand the focus to Cancel, and Space would press it.
        self.certificate.setFocus()
        self._set_busy(tr("An export is under way."))
        self._export.start(lambda progress: actions.export(folder, target, dtype, None, progress))

    def cancel(self) -> None:
        """Ask the export to end; a cancelled one leaves no files."""
        if self._export.running:
            self._set_busy(tr("Cancelling …"))
            self._export.cancel()

    def _set_busy(self, reason: str) -> None:
        self.form.set_busy(reason)
        self.certificate.set_busy(reason)

    def _show_runs(self, runs: list[RunSummary]) -> None:
        self.form.set_runs([run for run in runs if run.can_be_exported], self._newly_shown())

    def _show_run(self) -> None:
        """List the exports of the chosen run, and show the newest, or the one that is shown already."""
        folder = self.form.folder
        self._tell_restored("")
        self.latency.set_folder(folder)
        self.form.set_gguf(None)
        if folder is not None:
            self._read_sizes.start(lambda progress: actions.gguf_choices(folder, progress))
        self._list_exports(self.certificate.path)

    def _show_result(self, result: ExportResult) -> None:
        self._set_busy("")
        self._reveal_certificate()
        self._tell_restored(result.restored)
        self._list_exports(result.path)

    def _tell_restored(self, sentence: str) -> None:
        """Say that the run's result was taken from a checkpoint; nothing where it had one."""
        self.restored.setText(sentence)
        self.restored.setVisible(bool(sentence))

    def _list_exports(self, wanted: Path | None) -> None:
        """Read the exports of the chosen run, and show one of them: the newest when none is wanted."""
        folder = self.form.folder
        if folder is None:
            self._read_exports.drop()
            self._show_exports(([], None))
        else:
            self._read_exports.start(lambda _: (read_exports(folder), wanted))

    def _show_error(self, sentence: str) -> None:
        self._set_busy("")
        self._reveal_certificate()
        self.past.clearSelection()
        self.certificate.show_failure(sentence)

    def _show_exports(self, read: tuple[list[PastExport], Path | None]) -> None:
        exports, wanted = read
        self.exports.set_exports(exports)
        self.formats.set_exports(exports)
        self._past_card.setVisible(bool(exports))
        if not exports:
            self.certificate.show_nothing()
            self.ollama.set_export(None)
            return
        row = max(0, self.exports.row_of(wanted)) if wanted else 0
        self.past.setCurrentIndex(self.exports.index(row))

    def _show_chosen(self, index: QModelIndex) -> None:
        if index.isValid():
            export = self.exports.export(index.row())
            self.certificate.show_export(export)
            self.ollama.set_export(export)

    def _newly_shown(self) -> Path | None:
        """Return the run of the other pages when it became another one; otherwise the choice here stands."""
        record = self._context.record
        shown = record.folder.path if record is not None and record.folder is not None else None
        before, self._shown = self._shown, shown
        return shown if shown != before else None

    def _connect(self) -> None:
        self.form.button.clicked.connect(self.start)
        self.form.progress.cancelled.connect(self.cancel)
        self.form.run_chosen.connect(self._show_run)
        self.past.selectionModel().currentChanged.connect(self._show_chosen)
        self.certificate.checked.connect(self.exports.replace)
        self._export.finished.connect(self._show_result)
        self._export.failed.connect(self._show_error)
        self._export.cancelled.connect(lambda: self._set_busy(""))
        self._export.progressed.connect(self.form.progress.report)
        self._read_runs.finished.connect(self._show_runs)
        self._read_exports.finished.connect(self._show_exports)
        self._read_sizes.finished.connect(self.form.set_gguf)
        self._read_sizes.failed.connect(lambda _: None)  # the export says the same, and only to whom it concerns
        for reading in (self._read_runs, self._read_exports):
            reading.failed.connect(self.certificate.show_failure)

    def _lay_out(self) -> None:
        sentence = tr("A model is called exported only after it was read back and compared.")
        words = vbox(label(tr("Export"), "title"), label(sentence, "muted"), spacing=0.25)
        self.restored.hide()
        self._right = QWidget()
        vbox(self.restored, (self.certificate, 1), spacing=1, parent=self._right)
        self._area = self._make_left()
        self._halves = hbox((self._area, 5), (self._right, 6), spacing=2)
        vbox(words, (self._halves, 1), spacing=2, margins=(3, 2.5, 3, 2), parent=self)

    def _make_left(self) -> QScrollArea:
        self.past.setModel(self.exports)
        self.past.setAccessibleName(tr("Exports of this run"))
        self.past.setFixedHeight(theme.space(14))
        self._past_card = Card(tr("Exports of this run"))
        self._past_card.body.addWidget(self.past)
        self._past_card.hide()
        holder = QWidget()
        parts = self.form, self._past_card, self.formats, self.ollama, self.latency
        self._left = vbox(*parts, STRETCH, spacing=2, parent=holder)
        return scrolled(holder, tr("What to export"))

    def _reveal_certificate(self) -> None:
        if self._narrow:
            self._area.ensureWidgetVisible(self._right)

    def _arrange(self, *, narrow: bool) -> None:
        """In a narrow page the certificate stands below the form, not beside it."""
        if narrow == self._narrow:
            return
        self._narrow = narrow
        if narrow:
            self._left.insertWidget(1, self._right)
        else:
            self._halves.addWidget(self._right, 6)
        self._right.setMinimumHeight(theme.space(_LOW) if narrow else 0)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange(narrow=event.size().width() < theme.characters(_NARROW_CHARACTERS))

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.reload()
