"""Whom to ask: a run's result, and its base, one of its exports or another run beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.runner.conversation import Pair
from studio.ui.models.exports import PastExport, export_text
from studio.ui.models.run_summary import RunSummary, method_title, when_text
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label

ANSWERING = ("merged", "baked", "gguf", "ollama")
"""Exports that are models of their own; the others are the run's trained part in another place."""


class ModelChoice(QWidget):
    """`run_chosen` is emitted when another run is chosen, `changed` when either of the two is."""

    run_chosen = Signal()
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: dict[str, RunSummary] = {}
        self._texts: dict[str, str] = {}  # of the runs, as they are listed
        self._exports: Sequence[PastExport] = ()
        self.run, self.beside = ComboBox(), ComboBox()
        self.run.setAccessibleName(tr("Tuned model"))
        self.run.setToolTip(tr("Runs that have learnt something, newest first"))
        self.beside.setAccessibleName(tr("Beside it"))
        self.beside.setToolTip(
            tr("What answers beside the tuned model: its base, another run, or an export of the run")
        )
        self.run.changed.connect(self._choose_run)
        self.beside.changed.connect(self.changed)
        for box in (self.run, self.beside):
            box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(16)
        left = vbox(label(tr("Compared with"), "caption"), self.beside, spacing=0.25)
        right = vbox(label(tr("Tuned"), "caption"), self.run, spacing=0.25)
        hbox((left, 1), (right, 1), spacing=2, parent=self)

    @property
    def summary(self) -> RunSummary | None:
        """The run that is chosen."""
        return self._runs.get(self.run.value())

    @property
    def pair(self) -> Pair | None:
        """Whom to ask; None where there is no run."""
        summary = self.summary
        if summary is None:
            return None
        beside = self.beside.value()
        return Pair(run=summary.folder.path, beside=Path(beside) if beside else None)

    @property
    def names(self) -> tuple[str, str]:
        """The other model and the tuned one, as the columns are headed."""
        return self.beside.currentText(), self.run.currentText()

    def set_runs(self, runs: Sequence[RunSummary], chosen: Path | None) -> None:
        """Offer these runs, and choose one of them if it is there."""
        before = self.pair
        found = {str(run.folder.path): run for run in runs}
        if found != self._runs:
            self._runs, self._texts = found, {path: _run_text(run) for path, run in found.items()}
        with QSignalBlocker(self.run):
            self.run.set_choices(self._texts.items())
            if chosen is not None:
                self.run.set_value(str(chosen))
        if self.pair is None or before is None or self.pair.run != before.run:
            self._choose_run()
        else:
            self._offer()

    def set_exports(self, exports: Sequence[PastExport]) -> None:
        """Offer the exports of the chosen run."""
        self._exports = exports
        self._offer()

    def _choose_run(self) -> None:
        self._exports = ()
        self._offer()
        self.run_chosen.emit()
        self.changed.emit()

    def _offer(self) -> None:
        """Offer what can stand beside the chosen run; what stands there stays, if it can."""
        summary = self.summary
        base = tr("{model}, the base").format(model=summary.model) if summary and summary.model else tr("The base")
        exports = [one for one in self._exports if one.certificate and one.certificate.target in ANSWERING]
        chosen = self.run.value()
        others = [(path, text) for path, text in self._texts.items() if path != chosen]
        before = self.pair
        with QSignalBlocker(self.beside):
            self.beside.set_choices(
                [
                    ("", base),
                    *((str(one.path), export_text(one)) for one in exports),
                    *others,
                ]
            )
        if self.pair != before:
            self.changed.emit()


def _run_text(run: RunSummary) -> str:
    parts = (run.model or run.folder.name, method_title(run.method), when_text(run.created))
    return " · ".join(part for part in parts if part)
