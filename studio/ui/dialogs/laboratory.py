"""The overflow laboratory: each failure of the numerics, made on purpose on a tiny model, one click each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QDialog, QGridLayout, QWidget

from studio.i18n import tr
from studio.runner import laboratory
from studio.runner.laboratory import Experiment
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.laboratory_comparison import Comparison
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

_NARROW_CHARACTERS = 110  # in a narrower dialog the cards stand below each other


class ExperimentCard(Card):
    """One experiment in words, with a button that starts it."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment.title)
        self.experiment = experiment
        words = tr("Compare") if experiment.compares else tr("Start")
        self.start = push_button(words, "plain", "play")
        self.start.setAccessibleName(tr("{action}: {experiment}").format(action=words, experiment=experiment.title))
        self.start.setAutoDefault(False)
        look_at = label(experiment.look_at, "muted", wrap=True)
        self.body.addWidget(label(experiment.explanation, wrap=True))
        self.body.addStretch(1)
        self.body.addLayout(hbox((look_at, 1), (self.start, 0, Qt.AlignmentFlag.AlignBottom), spacing=2))


class Laboratory(QDialog):
    """`wanted` carries the configuration file of an experiment that is one run; comparisons run in here."""

    wanted = Signal(object)

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Overflow laboratory"))
        offer_guide(self, "precision", "overflow")
        self._context = context
        self._preparation = Job(self, context, tr("Setting up the laboratory"))
        self.cards = {one.name: ExperimentCard(one) for one in laboratory.experiments()}
        self._columns = 0
        self.comparison = Comparison(context)
        self.verdict = Verdict()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close the laboratory (Esc)"))
        self.leave.setAutoDefault(False)
        self._lay_out()
        for card in self.cards.values():
            card.start.clicked.connect(partial(self.begin, card.experiment))
        self._preparation.finished.connect(self._run)
        self._preparation.failed.connect(self._fail)
        self.leave.clicked.connect(self.reject)
        self.comparison.ended.connect(self._show_state)
        context.run_state_changed.connect(self._show_state)
        resize_dialog(self, 180, 90)
        self._show_state()

    def begin(self, experiment: Experiment) -> None:
        """Make the tiny model and the configurations, then run."""
        self.verdict.set(tr("Making the tiny model …"), "busy")
        self._preparation.start(lambda progress: (experiment, laboratory.prepare(experiment, progress)))
        self._show_state()

    @override
    def done(self, result: int) -> None:
        """A comparison ends with the dialog; a single run goes on in the window."""
        self._preparation.drop()
        self.comparison.stop()
        super().done(result)

    def _run(self, prepared: tuple[Experiment, list[Path]]) -> None:
        experiment, files = prepared
        self.verdict.set("")
        if experiment.compares:
            self.comparison.start(experiment, files)
            self._show_state()
        else:
            self.wanted.emit(files[0])
            self.accept()

    def _fail(self, sentence: str) -> None:
        self.verdict.set(sentence, "bad")
        self._show_state()

    def _show_state(self) -> None:
        busy = self._context.controller.running or self._preparation.running or self.comparison.running
        problem = tr("Something is running; stop it, or wait until it has ended.") if busy else ""
        for card in self.cards.values():
            card.start.setEnabled(not problem)
            card.start.setToolTip(problem)

    def _lay_out(self) -> None:
        about = tr(
            "What happens when numbers become too large or too small for 16 bits, shown for real on a tiny model that "
            "is made on this computer. Each takes seconds, and fills the Setup page with settings to play with."
        )
        vbox(
            label(tr("Overflow laboratory"), "title"),
            label(about, "muted", wrap=True),
            self.verdict,
            self.comparison,
            (scrolled(self._make_cards(), tr("Overflow laboratory")), 1),
            hbox(STRETCH, self.leave),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )

    def _make_cards(self) -> QWidget:
        inside = QWidget()
        self._grid = grid = QGridLayout(inside)
        grid.setContentsMargins(0, 0, theme.space(1), 0)
        grid.setSpacing(theme.space(1.5))
        self._arrange(2)
        return inside

    def _arrange(self, columns: int) -> None:
        """Put the cards into so many columns, where they are not there already."""
        if columns == self._columns:
            return
        self._columns = columns
        for place, card in enumerate(self.cards.values()):
            self._grid.addWidget(card, place // columns, place % columns)
        for column in range(2):
            self._grid.setColumnStretch(column, int(column < columns))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange(1 if event.size().width() < theme.characters(_NARROW_CHARACTERS) else 2)
