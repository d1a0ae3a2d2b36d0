"""How a run ended, or why it waits for its user, in one sentence, with the next thing to do beside it."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QWidget

from studio.engine.disk import DISK_FULL
from studio.i18n import tr
from studio.runner.state import RunState
from studio.text.retention import LOSSES
from studio.ui import theme
from studio.ui.pages.train.run_words import ended_text, waiting_text
from studio.ui.widgets.buttons import push_button, set_look
from studio.ui.widgets.flow import flow
from studio.ui.widgets.verdict import Level, Verdict

LEAST = 40  # characters in a line of the sentence, beside the buttons


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
        self.go_on = push_button(
            tr("Continue"), "primary", "continue", tr("Go on from the newest checkpoint, as if nothing had happened")
        )
        self.consent = push_button(
            tr("Go on with the changed files"),
            "primary",
            "continue",
            tr("Train on from the newest checkpoint with the base and the data as they are now"),
        )
        self.train_on = push_button(
            tr("Train on …"), "plain", "continue", tr("Let this run learn for some epochs more, from where it ended")
        )
        self.log = push_button(tr("Show the log"), "plain", tooltip=tr("See what the run logged before it failed"))
        buttons = flow(self.log, self.train_on, self.consent, self.go_on, self.numerics, self.export, spacing=1.5)
        verdict = (self.verdict, 1, theme.characters(LEAST))
        flow(verdict, buttons, spacing=1.5, margins=(2, 1, 1.25, 1), parent=self)
        self.hide()

    def show_state(self, state: RunState, *, can_go_on: bool = False) -> None:
        """Say how the run ended, if it has, or that it waits because its numbers are in trouble.

        Args:
            can_go_on: whether no process trains it, and it could be continued.
        """
        cut, waits = state.status == "interrupted", bool(state.paused_because) and not state.ended
        failed = state.status == "failed" or cut
        something_saved = not failed or state.checkpoint is not None
        self.export.setVisible(something_saved and not waits)
        learnt = bool(state.update)
        set_look(self.export, "export", "plain" if failed or not learnt else "primary")
        self.consent.setVisible(can_go_on and state.needs_consent)
        can_go_on = can_go_on and not state.needs_consent
        self.go_on.setVisible(can_go_on and state.status in ("stopped", "failed", "interrupted"))
        self.train_on.setVisible(can_go_on and state.status == "finished")
        skipped_all = bool(state.step) and not learnt
        look_first = (state.status == "failed" or skipped_all) and bool(state.step) and not state.needs_consent
        # After a stop the export comes first, and after trouble with the numbers to look comes before to go on.
        set_look(self.go_on, "continue", "plain" if look_first or not failed else "primary")
        self.log.setVisible(failed and not something_saved)  # the log is also below: no more buttons than have room
        self.numerics.setVisible((waits and state.paused_because != DISK_FULL) or look_first)
        if waits:
            self.verdict.set(waiting_text(state), "warning")
        else:
            lost = state.report is not None and state.report.verdict in LOSSES
            level: Level = "warning" if cut or lost or not (failed or learnt) else "bad" if failed else "good"
            self.verdict.set(ended_text(state), level)
        self.setVisible(state.ended or waits)
