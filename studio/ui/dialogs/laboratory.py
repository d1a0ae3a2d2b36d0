"""The overflow laboratory: each failure of the numerics, made on purpose on a tiny model, one click each."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget
from typing_extensions import override

from studio.i18n import tr
from studio.runner import laboratory
from studio.runner.laboratory import Experiment
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.laboratory_comparison import Comparison
from studio.ui.job import Job
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

COLUMNS = 2


class ExperimentCard(Card):
    """One experiment in words, with a button that starts it."""

    wanted = Signal(object)

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment.title)
        self.experiment = experiment
        words = tr("Compare") if experiment.compares else tr("Start")
        self.start = push_button(words, "plain", "play")
        self.start.setAccessibleName(tr("{action}: {experiment}").format(action=words, experiment=experiment.title))
        self.start.clicked.connect(lambda: self.wanted.emit(experiment))
        foot = QHBoxLayout()
        foot.setSpacing(theme.space(2))
        foot.addWidget(label(experiment.look_at, "muted", wrap=True), 1)
        foot.addWidget(self.start, 0, Qt.AlignmentFlag.AlignBottom)
        self.body.addWidget(label(experiment.explanation, wrap=True))
        self.body.addStretch(1)
        self.body.addLayout(foot)

    def allow(self, problem: str) -> None:
        """Allow the start, unless there is a problem, which the tooltip then tells."""
        self.start.setEnabled(not problem)
        self.start.setToolTip(problem)


class Laboratory(QDialog):
    """`wanted` carries the configuration file of an experiment that is one run; comparisons run in here."""

    wanted = Signal(object)

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Overflow laboratory"))
        self._context = context
        self._preparation = Job(self, context, tr("Setting up the laboratory"))
        self.cards = {one.name: ExperimentCard(one) for one in laboratory.experiments()}
        self.comparison = Comparison(context)
        self.verdict = Verdict()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close the laboratory (Esc)"))
        self.leave.setAutoDefault(False)
        self._lay_out()
        for card in self.cards.values():
            card.start.setAutoDefault(False)
            card.wanted.connect(self.begin)
        self._preparation.finished.connect(self._run)
        self._preparation.failed.connect(self._fail)
        self.leave.clicked.connect(self.reject)
        self.comparison.ended.connect(self._show_state)
        context.run_state_changed.connect(self._show_state)
        self.resize(theme.characters(180), theme.space(90))
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
            card.allow(problem)

    def _lay_out(self) -> None:
        about = tr(
            "What happens when numbers become too large or too small for 16 bits, shown for real on a tiny model that "
            "is made on this computer. Each takes seconds, and fills the Setup page with settings to play with."
        )
        whole = QVBoxLayout(self)
        margin = theme.space(3)
        whole.setContentsMargins(margin, margin, margin, theme.space(2))
        whole.setSpacing(theme.space(1.5))
        whole.addWidget(label(tr("Overflow laboratory"), "title"))
        whole.addWidget(label(about, "muted", wrap=True))
        whole.addWidget(self.verdict)
        whole.addWidget(self.comparison)
        whole.addWidget(self._make_area(), 1)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.leave)
        whole.addLayout(foot)

    def _make_area(self) -> QScrollArea:
        inside = QWidget()
        inside.setProperty("kind", "page")
        grid = QGridLayout(inside)
        grid.setContentsMargins(0, 0, theme.space(1), 0)
        grid.setSpacing(theme.space(1.5))
        for place, card in enumerate(self.cards.values()):
            grid.addWidget(card, place // COLUMNS, place % COLUMNS)
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(inside)
        return area
