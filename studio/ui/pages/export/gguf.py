"""GGUF on the Export page: what each format cost, and the model created in Ollama."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLineEdit, QWidget

from studio.i18n import gettext_noop, tr
from studio.runner import actions
from studio.text.gguf import COSTS, created_text
from studio.text.numbers import brief, percent, size_text
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.exports import GgufRow, PastExport, gguf_rows
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import Role, label

if TYPE_CHECKING:
    from studio.engine.export.gguf.ollama import Created

COLUMNS = (
    gettext_noop("Format"),
    gettext_noop("Size"),
    gettext_noop("Loss (KL)"),
    gettext_noop("Same next word"),
    gettext_noop("Cost"),
)
_LEVELS = {"small": "good", "clear": "warning", "heavy": "bad"}


class FormatsCard(Card):
    """A table of the GGUF files of a run, and what each lost, as llama.cpp measured it. Hidden while there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("What the formats cost"), parent)
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(theme.space(1.25))
        self._grid.setVerticalSpacing(theme.space(0.75))
        self._grid.setColumnStretch(0, 1)
        about = tr(
            "Measured in llama.cpp over held-out rows, against the trained model: how far the probabilities of the "
            "next word move (nats, mean), and how often the likeliest word is the same."
        )
        self.body.addWidget(label(about, "caption", wrap=True))
        self.body.addWidget(self._table)
        self.hide()

    def set_exports(self, exports: Sequence[PastExport]) -> None:
        """Show the files among a run's exports, the largest first."""
        rows = gguf_rows(exports)
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for column, title in enumerate(COLUMNS):
            self._put(tr(title), "caption", 0, column)
        for line, row in enumerate(rows, start=1):
            for column, text in enumerate(_cells(row)):
                self._put(text, "value" if column == 0 else "body", line, column, _level(row, column))
        self._table.setAccessibleName(tr("What the formats cost"))
        self._table.setAccessibleDescription(tr("; ").join(tr(", ").join(_cells(row)) for row in rows))
        self.setVisible(bool(rows))

    def _put(self, text: str, kind: Role, line: int, column: int, level: str = "") -> None:
        side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
        cell = label(text, kind)
        cell.setProperty("level", level)
        self._grid.addWidget(cell, line, column, side | Qt.AlignmentFlag.AlignVCenter)


def _cells(row: GgufRow) -> tuple[str, ...]:
    name = row.dtype if row.passed else tr("{format} (failed)").format(format=row.dtype)
    return name, size_text(row.bytes), brief(row.kl), percent(row.top1), tr(COSTS[row.level])


def _level(row: GgufRow, column: int) -> str:
    return _LEVELS[row.level] if COLUMNS[column] == "Cost" else ""


class OllamaCard(Card):
    """Creates a model on this computer's Ollama server from the export that is shown. Hidden for other exports."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(tr("Ollama"), parent)
        self._folder: Path | None = None
        self._creation = Job(self, context, tr("Creating the model in Ollama"))
        self._search = Job(self, context, tr("Looking for Ollama"))
        self.name = QLineEdit()
        self.name.setPlaceholderText(tr("Name in Ollama"))
        self.name.setAccessibleName(tr("Name in Ollama"))
        tip = tr("Give the model to the Ollama server on this computer, and ask it once")
        self.button = push_button(tr("Create in Ollama"), "plain", "export", tip)
        self.progress = TaskProgress()
        self.progress.hide()
        self.body.addLayout(hbox((self.name, 1), self.button, spacing=1))
        self.body.addWidget(self.progress)
        self.button.clicked.connect(self.create_model)
        self.name.returnPressed.connect(self.create_model)
        self.name.textChanged.connect(self._show_button)
        self.progress.cancelled.connect(self._creation.cancel)
        self._creation.finished.connect(self._show)
        self._creation.failed.connect(self._fail)
        self._creation.cancelled.connect(lambda: self._end("", good=True))
        self._creation.progressed.connect(self.progress.report)
        self._search.finished.connect(self._show_server)
        self.hide()

    def set_export(self, export: PastExport | None) -> None:
        """Show another export."""
        certificate = export.certificate if export and export.passed else None
        suited = certificate is not None and certificate.target == "ollama"
        self._folder = export.path if suited and export else None
        self._creation.drop()
        self._end("", good=True)
        self.setVisible(suited)
        if suited and certificate:
            model = str(certificate.base["name"]).rpartition("/")[2].lower()
            self.name.setText(f"{model}-tuned")
            self._search.start(lambda _: actions.find_ollama())

    def create_model(self) -> None:
        """Create the model in the background."""
        folder, name = self._folder, self.name.text().strip()
        if folder is None or not self.button.isEnabled():
            return
        self.set_verdict("")
        self.progress.show()
        self.progress.report("starting", 0, 0)
        self._creation.start(lambda progress: actions.create_in_ollama(folder, name, progress))
        self._show_button()

    def _show_server(self, version: str | None) -> None:
        if version is None:
            self.set_verdict(tr("No Ollama server answers on this computer; start Ollama to create the model."), "note")
        else:
            self.set_summary(tr("version {version}").format(version=version))

    def _show(self, made: Created) -> None:
        self._end(created_text(made.name, made.asked, made.answer, made.expected), good=made.same)

    def _fail(self, sentence: str) -> None:
        self._end("", good=True)
        self.set_verdict(sentence, "bad")

    def _end(self, verdict: str, *, good: bool) -> None:
        self.progress.hide()
        self.set_verdict(verdict, "none" if not verdict else "good" if good else "note")
        self._show_button()

    def _show_button(self) -> None:
        self.button.setEnabled(bool(self.name.text().strip()) and not self._creation.running)
