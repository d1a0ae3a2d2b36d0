"""When the newest checkpoint was saved, and the button that saves one now."""

from __future__ import annotations

import time

from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.runner.state import RunState
from studio.ui.bridge import AppContext
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.text import ElidedLabel


class CheckpointLine(QWidget):
    """Hidden before the first step. The page connects the button."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self.words = ElidedLabel("", "caption")
        self.save = push_button(
            tr("Save a checkpoint now"),
            "quiet",
            "save",
            tr("Save the whole state of the run after the present step, and train on (Ctrl+K)"),
        )
        hbox(self.words, self.save, spacing=1, parent=self)

    def show_state(self, state: RunState, *, live: bool) -> None:
        """Show the newest checkpoint of a run; `live`: it is under way, and can save another."""
        saving = live and self._context.saving_checkpoint
        failed, saved = state.checkpoint_failed, state.checkpoint
        if saving:
            self.words.set_text(tr("Saving a checkpoint …"))
        elif failed is not None:
            words = tr("The checkpoint after step {step} was not saved: {reason}")
            self.words.set_text(words.format(step=f"{failed.step:,}", reason=failed.reason))
        elif saved is not None:
            when = time.strftime("%H:%M:%S", time.localtime(saved.time))
            words = tr("Checkpoint of update {update}, {time}")
            self.words.set_text(words.format(update=f"{saved.update:,}", time=when))
        else:
            self.words.set_text(tr("No checkpoint yet"))
        self.save.setVisible(live)
        self.save.setEnabled(not saving)
        self.setVisible(bool(state.step))
