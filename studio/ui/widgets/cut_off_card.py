"""A card for a run that was cut off: what happened, what is left of it, and the way on."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from studio.i18n import sentences, tr
from studio.runner.continuing import CutOff, LeftRuns
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.models.run_summary import method_title
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

LEAST = 40  # characters in a line of the words, beside the buttons


class CutOffCard(QFrame):
    """Hidden while there is nothing to go on with. Continue and Show go to the context; each of the three hides it."""

    answered = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self._context = context
        self._run: CutOff | None = None
        self.title, self.words = Verdict(), label("", "muted", wrap=True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.go_on = push_button(
            tr("Continue"), "primary", "continue", tr("Go on from the newest checkpoint, as if nothing had happened")
        )
        self.show_run = push_button(tr("Show"), "plain", "train", tr("See the plots and the log of this run"))
        self.dismiss = push_button(tr("Dismiss"), "quiet", tooltip=tr("The run stays on the Runs page"))
        self.go_on.clicked.connect(self._continue)
        self.show_run.clicked.connect(self._show)
        self.dismiss.clicked.connect(self._dismiss)
        text = vbox(self.title, self.words, spacing=0.5)
        buttons = flow(self.dismiss, self.show_run, self.go_on, spacing=1.25)
        flow((text, 1, theme.characters(LEAST)), buttons, spacing=1.25, margins=(2, 1.25, 1.5, 1.25), parent=self)
        self.words.setContentsMargins(theme.space(2.75), 0, 0, 0)  # in line with the words beside the sign
        self.hide()

    def show_left(self, left: LeftRuns) -> None:
        """Tell of the newest run that was cut off, and how many others there are."""
        self._run = run = left.cut_off[0]
        self.title.set(_what(run), "warning")
        words = _left_of(run)
        if others := len(left.cut_off) - 1:
            words = sentences((words, tr("Others that were cut off, on the Runs page: {count}.").format(count=others)))
        self.words.setText(words)
        self.show()

    def _continue(self) -> None:
        assert self._run is not None
        self._context.continue_requested.emit(self._run.folder, 0.0)
        self._leave()

    def _show(self) -> None:
        assert self._run is not None
        self._context.open_requested.emit(self._run.folder)
        self._leave()

    def _dismiss(self) -> None:
        assert self._run is not None
        self._context.settings.dismissed = self._run.key
        self._leave()

    def _leave(self) -> None:
        self.hide()
        self.answered.emit()


def _what(run: CutOff) -> str:
    words = tr("A run was cut off: {run}. Its last event was on {date} at {time}.")
    name = " · ".join(part for part in (run.model or run.folder.name, method_title(run.method)) if part)
    return words.format(
        run=name,
        date=time.strftime("%Y-%m-%d", time.localtime(run.when)),
        time=time.strftime("%H:%M:%S", time.localtime(run.when)),
    )


def _left_of(run: CutOff) -> str:
    """What would be lost: nothing but the updates since the newest checkpoint."""
    if run.checkpoint is None:
        return tr("It had come to update {update}, and has no checkpoint: Continue begins it again.").format(
            update=f"{run.update:,}"
        )
    when = time.strftime("%H:%M:%S", time.localtime(run.checkpoint))
    if run.checkpoint_update is None:
        return tr("Its newest checkpoint was saved at {time}; the program or the computer ended after it.").format(
            time=when
        )
    words = tr("It had come to update {update}. The newest checkpoint is of update {saved}, saved at {time}.")
    return words.format(update=f"{run.update:,}", saved=f"{run.checkpoint_update:,}", time=when)
