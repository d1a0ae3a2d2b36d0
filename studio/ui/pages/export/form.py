"""What to export: the run, the form, the save format, and the one button."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QButtonGroup, QWidget

from studio.engine.export import TARGETS, Target
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.methods import METHODS
from studio.i18n import gettext_noop, tr
from studio.runs import RunFolder
from studio.text.numbers import size_text
from studio.ui.models.run_summary import RunSummary, method_title, when_text
from studio.ui.pages.export.target import TargetCard
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.runner.actions import GgufChoices

DTYPES = {
    "auto": gettext_noop("The format the base model is stored in: as many bytes a weight as the base has."),
    "fp32": gettext_noop("Exact: nothing of the training is rounded away. Four bytes a weight."),
    "fp16": gettext_noop(
        "Two bytes a weight, three significant digits. Runs on every GPU; the usual choice for sharing."
    ),
    "bf16": gettext_noop(
        "Two bytes a weight, the range of fp32 but two significant digits: fine changes may be rounded away."
    ),
}
GGUF = tuple(FORMATS)
GGUF_DTYPES = {name: chosen.about for name, chosen in FORMATS.items()} | {
    "auto": gettext_noop("Two bytes a weight: bf16 for a base that is stored so, f16 for any other."),
}


class ExportForm(Card):
    """`run_chosen` is emitted when another run is chosen."""

    run_chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("What to export"), parent)
        self._runs: dict[str, RunSummary] = {}
        self._busy = ""
        self._gguf: GgufChoices | None = None
        self.run = ComboBox()
        self.run.setAccessibleName(tr("Run"))
        self.run.setPlaceholderText(tr("No run to export"))
        self.run.setToolTip(tr("Runs that ended and left something to export, newest first"))
        self.cards = {target.name: TargetCard(target) for target in TARGETS}
        self.dtype = ComboBox()
        self.dtype.setAccessibleName(tr("Save format"))
        self.dtype.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)
        self._about_dtype = label("", "caption", wrap=True)
        self.button = push_button("", "primary", "export")
        self.progress, self.refusal = TaskProgress(), Verdict()
        self._lay_out()
        self.run.changed.connect(self._show_run)
        self.dtype.changed.connect(self._show_dtype)
        self.group.buttonToggled.connect(self._show_target)
        self._show_target()
        self._show_button()

    @property
    def folder(self) -> RunFolder | None:
        """The run that is chosen."""
        summary = self._runs.get(self.run.value())
        return summary.folder if summary else None

    @property
    def target(self) -> Target:
        return next((card.target for card in self.cards.values() if card.isChecked()), next(iter(TARGETS)))

    def set_runs(self, runs: Sequence[RunSummary], chosen: Path | None) -> None:
        """Offer these runs, and choose one of them if it is there."""
        found = {str(run.folder.path): run for run in runs}
        with QSignalBlocker(self.run):
            if found != self._runs:
                self._runs = found
                self.run.set_choices((path, _run_text(run)) for path, run in found.items())
            if chosen is not None:
                self.run.set_value(str(chosen))
        self._show_run()

    def set_busy(self, reason: str) -> None:
        """While an export is under way nothing can be chosen; `reason` says what goes on, "" ends it."""
        self._busy = reason
        self.progress.setVisible(bool(reason))
        self._show_button()

    def _show_run(self) -> None:
        run = self._runs.get(self.run.value())
        for card in self.cards.values():
            card.refuse(_refusal(card.target, run))
        offered = [card for card in self.cards.values() if card.isEnabled()]
        if offered and not any(card.isChecked() and card.isEnabled() for card in offered):
            offered[0].setChecked(True)
        self._show_button()
        self.run_chosen.emit()

    def _show_target(self) -> None:
        dtypes = self.target.dtypes
        self.dtype.set_choices([("auto", tr("Automatic")), *((dtype, self._dtype_text(dtype)) for dtype in dtypes)])
        self._dtype_row.setVisible(len(dtypes) > 1)
        self.button.setText(tr(self.target.action))
        self.button.setShortcut("Ctrl+Shift+E")  # another text takes it away
        self.button.setAccessibleName(self.button.text())
        self._show_dtype()

    def _show_dtype(self) -> None:
        texts = GGUF_DTYPES if self.target.dtypes == GGUF else DTYPES
        self._about_dtype.setText(self._dtype_reason() or tr(texts[self.dtype.value()]))
        self._show_button()

    def set_gguf(self, found: GgufChoices | None) -> None:
        """Say how large a GGUF file of the chosen run will be in each format; None while that is not known."""
        self._gguf = found
        self._show_target()

    def _dtype_text(self, dtype: str) -> str:
        """Return a format with the size of the file where that is known."""
        if self.target.dtypes != GGUF or self._gguf is None or dtype not in self._gguf.sizes:
            return dtype
        return f"{dtype} · {size_text(self._gguf.sizes[dtype])}"

    def _dtype_reason(self) -> str:
        """Return why the chosen format cannot be taken, in a sentence, or ""."""
        chosen = FORMATS.get(self.dtype.value()) if self.target.dtypes == GGUF else None
        return self._gguf.no_k_quants if chosen and chosen.k_quant and self._gguf else ""

    def _show_button(self) -> None:
        problem = self._busy or ("" if self._runs else tr("No run has finished yet.")) or self._dtype_reason()
        self.button.setEnabled(not problem)
        self.button.setToolTip(problem or tr("Write the files, read them back, and compare outputs (Ctrl+Shift+E)"))
        for widget in (self.run, self.dtype):
            widget.setEnabled(bool(self._runs) and not self._busy)
        for card in self.cards.values():
            card.setEnabled(not self._busy and not card.reason)
        self.refusal.set("" if self._busy else problem, "warning")

    def _lay_out(self) -> None:
        self.group = QButtonGroup(self)
        self.body.addWidget(self.run)
        for card in self.cards.values():
            self.group.addButton(card)
            self.body.addWidget(card)
        next(iter(self.cards.values())).setChecked(True)
        self._dtype_row = QWidget()
        choice = hbox(label(tr("Save format")), (self.dtype, 1), spacing=1.5)
        vbox(choice, self._about_dtype, spacing=0.75, parent=self._dtype_row)
        for widget in (self._dtype_row, self.refusal, self.button, self.progress):
            self.body.addWidget(widget)


def _run_text(run: RunSummary) -> str:
    parts = (run.model or run.folder.name, method_title(run.method), run.precision, when_text(run.created))
    return " · ".join(part for part in parts if part)


def _refusal(target: Target, run: RunSummary | None) -> str:
    """Return why a run cannot be exported in this form, in a sentence, or nothing. The engine asks the same."""
    if run is None or run.method not in METHODS.names():
        return ""
    return target.refuse(METHODS.get(run.method))
