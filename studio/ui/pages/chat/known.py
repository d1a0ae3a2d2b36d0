"""The menu of prompts that are one click away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QWidget

from studio.i18n import tr
from studio.runner import actions
from studio.runner.conversation import Pair
from studio.runs import RunFolder
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.widgets.buttons import push_button

if TYPE_CHECKING:
    from studio.engine.inference.prompts import KnownPrompt

WIDEST = 80


class KnownPrompts(QWidget):
    """A button with a menu. `chosen` carries a KnownPrompt; what goes wrong is said in the menu itself."""

    chosen = Signal(object)

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pair: Pair | None = None
        self._read: Pair | None = None
        self._job = Job(self, context, tr("Reading the held-out rows"))
        self.menu = QMenu(self)
        self.button = push_button(
            tr("Prompts"), tooltip=tr("Rows that the run never saw, and questions that the base could answer")
        )
        self.button.setProperty("menu", True)
        self.button.setMenu(self.menu)
        self.menu.aboutToShow.connect(self._begin)
        self._job.finished.connect(self._fill)
        self._job.failed.connect(self._say)

    def set_pair(self, pair: Pair | None) -> None:
        """Offer the rows of another run, once the menu is opened."""
        if pair is None or self._read is None or pair.run != self._read.run:
            self._job.drop()
            self._read = None
            self.menu.clear()
        self._pair = pair

    def _begin(self) -> None:
        """Read the rows when the menu is first opened."""
        if self._pair is None or self._read is not None:
            return
        self._read = self._pair
        folder = RunFolder(self._pair.run)
        self._say(tr("Reading the held-out rows …"))
        self._job.start(lambda progress: actions.known_prompts(folder, progress))

    def _fill(self, prompts: tuple[KnownPrompt, ...]) -> None:
        self.menu.clear()
        general = QMenu(tr("Questions of general knowledge"), self.menu)
        for prompt in prompts:
            menu = general if prompt.origin == "retention" else self.menu
            menu.addAction(_line(prompt.prompt), partial(self.chosen.emit, prompt))
        if self.menu.isEmpty():
            self._say(tr("This run held no rows out."))
        self.menu.addSeparator()
        self.menu.addMenu(general)

    def _say(self, sentence: str) -> None:
        self.menu.clear()
        self.menu.addAction(sentence).setEnabled(False)


def _line(text: str) -> str:
    """Return a prompt in one line of a menu, where an ampersand is no mnemonic."""
    line = " ".join(text.split())
    return (f"{line[: WIDEST - 1]}…" if len(line) > WIDEST else line).replace("&", "&&")
