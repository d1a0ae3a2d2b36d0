"""The bar at the bottom that is always there: what the run does, how fast, how long still, and its three buttons."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QLabel, QWidget

from studio.engine.methods import METHODS
from studio.engine.precision import PRECISIONS
from studio.i18n import gettext_noop, tr
from studio.registry import Registry
from studio.runner.state import RunState
from studio.text.numbers import duration_text, size_text, speed_text
from studio.text.words import progress_text
from studio.ui import icons, theme
from studio.ui.bridge import AppContext
from studio.ui.widgets.buttons import ActionButton, push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import ShareBar
from studio.ui.widgets.text import ElidedLabel, label

_STATUS = {
    "created": (gettext_noop("Starting"), "accent"),
    "running": (gettext_noop("Training"), "accent"),
    "paused": (gettext_noop("Paused"), "warning"),
    "stopped": (gettext_noop("Stopped, saved"), "muted"),
    "finished": (gettext_noop("Finished"), "good"),
    "failed": (gettext_noop("Failed"), "bad"),
    "interrupted": (gettext_noop("Interrupted"), "warning"),
}


class RunBar(QFrame):
    """Shows the live run; Start, Pause, Stop and Queue are the window's actions."""

    def __init__(
        self,
        context: AppContext,
        start: QAction,
        pause: QAction,
        stop: QAction,
        queue: QAction,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "runbar")
        self._context = context
        self._stopping = False
        self._dot = QLabel()
        self.status = label("", "value")
        self.words = ElidedLabel()
        self.bar = ShareBar()
        self.facts = ElidedLabel()
        self.reason = label("", "muted", wrap=True)
        self.start = ActionButton(start, "primary", "play")
        self.pause = ActionButton(pause)
        self.stop = ActionButton(stop)
        self.queue = push_button("", "quiet", "queue", queue.toolTip())
        self.queue.clicked.connect(queue.trigger)
        self._lay_out()
        context.progressed.connect(self.refresh)
        context.run_state_changed.connect(self.refresh)
        theme.notifier().changed.connect(self.refresh)
        self.refresh()

    def show_reason(self, reason: str) -> None:
        """Say beside Start why it is disabled, or nothing."""
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        self.start.setAccessibleDescription(reason)

    def show_stopping(self) -> None:
        """Say that the run was asked to end."""
        self._stopping = True
        self.refresh()

    def refresh(self) -> None:
        """Show what the live run has become."""
        running = self._context.controller.running
        self._stopping = self._stopping and running
        waits = self._context.waits
        self.pause.set_look(*(("play", "primary") if waits else ("pause", "plain")))
        state = self._context.live.state if self._context.live else None
        self._show_status(state)
        self._show_progress(state, running)
        self.start.setVisible(not running)
        self.reason.setVisible(not running and bool(self.reason.text()))
        for button in (self.pause, self.stop):
            button.setVisible(running)
        self._show_queue()

    def _show_queue(self) -> None:
        """Say how many runs wait, where any does."""
        waiting = sum(not run.problem for run in self._context.queue.runs)
        words = tr("Queue: {count}").format(count=waiting)
        self.queue.setText(f"\u00a0{words}")
        self.queue.setAccessibleName(words)
        self.queue.setVisible(bool(self._context.queue.runs))

    def _show_status(self, state: RunState | None) -> None:
        words, colour = _STATUS[state.status] if state else (gettext_noop("Ready"), "muted")
        controller = self._context.controller
        if self._stopping or controller.stopping:
            words, colour = gettext_noop("Stopping …"), "warning"
        elif controller.pausing:
            words, colour = gettext_noop("Pausing …"), "warning"
        elif controller.resuming:
            words, colour = gettext_noop("Resuming …"), "accent"
        elif controller.paused and state and state.released:
            words = gettext_noop("Paused, the GPU is free")
        self.status.setText(tr(words))
        size = theme.space(2)
        self._dot.setPixmap(icons.pixmap("status", theme.palette().names()[colour], size, self.devicePixelRatioF()))

    def _show_progress(self, state: RunState | None, running: bool) -> None:
        self.bar.setVisible(running)
        self.facts.set_text(" · ".join(_facts(state)) if state and running else "")
        self.words.set_text(_sentence(state, running) if state else "")
        if state and running:
            self.bar.show_share(*state.share)

    def _lay_out(self) -> None:
        head = hbox(self._dot, self.status, (self.words, 1), self.facts, spacing=1)
        left = vbox(head, self.bar, spacing=0.75)
        self.reason.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.reason.setMaximumWidth(theme.characters(70))
        parts = (left, 1), (self.reason, 1), self.queue, self.pause, self.stop, self.start
        hbox(*parts, spacing=1.5, margins=(2, 1.25, 2, 1.25), parent=self)


def _facts(state: RunState) -> list[str]:
    facts = []
    if state.planned_updates and state.step:
        facts.append(tr("update {done} of {total}").format(done=state.update, total=state.planned_updates))
    if state.tokens_per_second:
        facts.append(speed_text(state.tokens_per_second))
    if state.eta_seconds is not None:
        facts.append(tr("{time} left").format(time=duration_text(state.eta_seconds)))
    return facts


def _sentence(state: RunState, running: bool) -> str:
    if state.sentence:
        return state.sentence
    if running and state.missing:
        words = tr("The GPU has {size} too little to go on: end what uses it, then press Resume.")
        return words.format(size=size_text(state.missing))
    if running and state.stage and state.stage != "training":
        return progress_text(state.stage, state.done, state.total)
    return " · ".join(
        part for part in (state.model, _title(METHODS, state.method), _title(PRECISIONS, state.precision)) if part
    )


def _title(registry: Registry[Any], name: str) -> str:
    """The title of an entry; a run of a later version may name one that is not known here."""
    return tr(registry.get(name).title) if name in registry.names() else name
