"""How a run ended, or why it waits for its user, in one sentence, with the next thing to do beside it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QWidget

from studio.engine.disk import DISK_FULL
from studio.i18n import tr
from studio.runner.numerics import verdict_title
from studio.runner.record import RunState
from studio.text import numbers
from studio.text.numbers import duration_text
from studio.text.retention import LOSSES, VERDICTS
from studio.text.words import measured_rows_text
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.verdict import Verdict


class EndBanner(QFrame):
    """Hidden while the run goes on. The page connects the buttons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.verdict = Verdict()
        self.export = push_button(tr("Export…"), "primary", "export", tr("Merge, export and check this run's result"))
        self.numerics = push_button(
            tr("See why and choose"),
            "primary",
            "numerics",
            tr("See what is the matter with the numbers, and what helps"),
        )
        self.log = push_button(tr("Show the log"), "plain", tooltip=tr("See what the run logged before it failed"))
        verdict = (self.verdict, 1, Qt.AlignmentFlag.AlignVCenter)
        hbox(verdict, self.log, self.numerics, self.export, spacing=1.5, margins=(2, 1, 1.25, 1), parent=self)
        self.hide()

    def show_state(self, state: RunState) -> None:
        """Say how the run ended, if it has, or that it waits because its numbers are in trouble."""
        failed, waits = state.status == "failed", bool(state.paused_because) and not state.ended
        self.export.setVisible(not failed and not waits)
        self.log.setVisible(failed)
        self.numerics.setVisible((waits and state.paused_because != DISK_FULL) or (failed and bool(state.step)))
        if waits:
            self.verdict.set(_waiting(state), "warning")
        else:
            lost = state.report is not None and state.report.verdict in LOSSES
            self.verdict.set(_sentence(state), "bad" if failed else "warning" if lost else "good")
        self.setVisible(state.ended or waits)


def _waiting(state: RunState) -> str:
    if state.paused_because == DISK_FULL:
        return tr(
            "The disk is full. The run waits after step {step}, and goes on by itself once there is room."
        ).format(step=f"{state.step:,}")
    return tr("Paused after step {step}: {verdict}. The weights are those of the last good update, {update}.").format(
        step=f"{state.step:,}", verdict=tr(verdict_title(state.paused_because)), update=f"{state.update:,}"
    )


def _sentence(state: RunState) -> str:
    if state.status == "failed":
        return state.sentence or tr("The run failed; the log has the details.")
    ended = tr("Stopped") if state.status == "stopped" else tr("Finished")
    text = tr("{ended} after {updates} updates in {time}; the result is saved.").format(
        ended=ended, updates=f"{state.update:,}", time=duration_text(state.seconds)
    )
    if state.validation_loss is not None and state.first_validation_loss is not None:
        words = tr("Validation loss went from {first} to {last}")
        first, last = numbers.number(state.first_validation_loss), numbers.number(state.validation_loss)
        measured = measured_rows_text(*state.validation_rows)
        text = f"{text} {' '.join(filter(None, (words.format(first=first, last=last), measured)))}."
    return f"{text} {tr(VERDICTS[state.report.verdict])}" if state.report else text
