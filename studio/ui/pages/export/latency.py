"""Speed in use: what the chosen run's result costs when it answers, measured on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from studio.i18n import gettext_noop, tr
from studio.runner import actions, words
from studio.runs import RunFolder
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import STRETCH, hbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Level

if TYPE_CHECKING:
    from studio.engine.inference.figures import FormLatency, Latency, Ratio, Spread

COLUMNS = (gettext_noop("Form"), gettext_noop("Prompt"), gettext_noop("Each token"), gettext_noop("Tokens/s"))


class LatencyCard(Card):
    """A table of the forms that the chosen run has; empty until it is measured, and again with another run."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(tr("Speed in use"), parent)
        self._context = context
        self._folder: RunFolder | None = None
        self._measurement = Job(self, context, tr("Measuring the speed"))
        self._about = label(
            tr(
                "Merged, a low-rank change costs nothing. An adapter inside the layers costs time with every token, "
                "and virtual tokens cost time when the prompt is read. See what it is on this machine."
            ),
            "muted",
            wrap=True,
        )
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self.progress = TaskProgress()
        self._conditions = label("", "caption", wrap=True)
        self.button = push_button(tr("Measure"), "plain", "refresh")
        self._lay_out()
        self.button.clicked.connect(self.measure)
        self.progress.cancelled.connect(self.cancel)
        self._measurement.finished.connect(self._show)
        self._measurement.failed.connect(lambda sentence: self._clear(sentence, "bad"))
        self._measurement.progressed.connect(self.progress.report)
        context.run_state_changed.connect(self._show_button)
        self.set_folder(None)

    def set_folder(self, folder: RunFolder | None) -> None:
        """Choose another run, and clear what was measured of the run before."""
        if folder == self._folder and folder is not None:
            return
        self._folder = folder
        self.cancel()

    def measure(self) -> None:
        """Measure the chosen run in the background."""
        folder = self._folder
        if folder is None:
            return
        self._clear()
        self._measurement.start(lambda progress: actions.latency(folder, progress=progress))
        self.progress.report("starting", 0, 0)
        self._show_button()

    def cancel(self) -> None:
        """Stop measuring, and show nothing of it."""
        self._measurement.drop()
        self._clear()

    def _clear(self, verdict: str = "", level: Level = "none") -> None:
        self.progress.hide()
        self._table.hide()
        self._about.show()
        self.set_verdict(verdict, level)
        self._conditions.hide()
        self._show_button()

    def _show(self, found: Latency) -> None:
        self._clear()
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for column, title in enumerate(COLUMNS):
            self._put(label(tr(title), "caption"), 0, column)
        for row, form in enumerate(found.forms, start=1):
            for column, text in enumerate(_cells(form)):
                self._put(label(text, "body" if column else "value", wrap=not column), row, column)
        sentence = words.latency_sentence(found)
        self._table.setAccessibleName(tr("Speed of each form"))
        self._table.setAccessibleDescription(sentence)
        self._about.hide()
        self._table.show()
        self.set_verdict(sentence, "note")
        self._conditions.setText(words.latency_conditions(found))
        self._conditions.show()

    def _put(self, cell: QLabel, row: int, column: int) -> None:
        side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
        cell.setAlignment(side)
        self._grid.addWidget(cell, row, column, side | Qt.AlignmentFlag.AlignTop)

    def _show_button(self) -> None:
        problem = self._problem()
        self.button.setEnabled(not problem)
        self.button.setToolTip(
            problem or tr("Let the base, the trained model and the merged one answer in turn, and compare their speed")
        )

    def _problem(self) -> str:
        if self._measurement.running:
            return tr("A measurement is under way.")
        if self._folder is None:
            return tr("No run has finished yet.")
        if self._context.controller.running:
            return tr("A run is training and would be in the way of the figures; measure when it has ended.")
        return ""

    def _lay_out(self) -> None:
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(theme.space(2))
        self._grid.setVerticalSpacing(theme.space(0.75))
        self._grid.setColumnStretch(0, 1)
        for widget in (self._about, self._table, self._conditions, self.progress):
            self.body.addWidget(widget)
        self.body.addLayout(hbox(self.button, STRETCH))


def _cells(form: FormLatency) -> tuple[str, ...]:
    """Times, and below them how many times the base's they are, where that is more than noise."""
    return (
        words.form_text(form.form),
        _time(form.prefill_ms, form.prefill_ratio, form.form),
        _time(form.token_ms, form.token_ratio, form.form),
        f"{form.tokens_per_second:.{0 if form.tokens_per_second >= 100 else 1}f}",
    )


def _time(milliseconds: Spread, ratio: Ratio, form: str) -> str:
    number = f"{milliseconds.median:.{0 if milliseconds.median >= 100 else 1}f}"
    time = tr("{number} ms").format(number=number)
    if form == "base":
        return time
    return f"{time}\n{words.range_text(ratio) if ratio.differs else tr('no difference')}"
