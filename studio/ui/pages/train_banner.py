"""How a run ended, in one sentence, with the next thing to do beside it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from studio.i18n import tr
from studio.runner.record import RunState
from studio.ui import theme
from studio.ui.plots import numbers
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.verdict import Verdict
from studio.words import duration_text


class EndBanner(QFrame):
    """Hidden while the run goes on."""

    export_wanted = Signal()
    log_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.verdict = Verdict()
        self.export = push_button(tr("Export…"), "primary", "export", tr("Merge, export and check this run's result"))
        self.export.clicked.connect(self.export_wanted)
        self.log = push_button(tr("Show the log"), "plain", tooltip=tr("See what the run logged before it failed"))
        self.log.clicked.connect(self.log_wanted)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.space(2), theme.space(1), theme.space(1.25), theme.space(1))
        row.setSpacing(theme.space(1.5))
        row.addWidget(self.verdict, 1, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.log)
        row.addWidget(self.export)
        self.hide()

    def show_state(self, state: RunState) -> None:
        """Say how the run ended, if it has."""
        failed = state.status == "failed"
        self.export.setVisible(not failed)
        self.log.setVisible(failed)
        self.verdict.set(_sentence(state), "bad" if failed else "good")
        self.setVisible(state.ended)


def _sentence(state: RunState) -> str:
    if state.status == "failed":
        return state.sentence or tr("The run failed; the log has the details.")
    ended = tr("Stopped") if state.status == "stopped" else tr("Finished")
    text = tr("{ended} after {updates} updates in {time}; the result is saved.").format(
        ended=ended, updates=f"{state.update:,}", time=duration_text(state.seconds)
    )
    if state.validation_loss is None or state.first_validation_loss is None:
        return text
    return (
        text
        + " "
        + tr("Validation loss went from {first} to {last}.").format(
            first=numbers.number(state.first_validation_loss), last=numbers.number(state.validation_loss)
        )
    )
