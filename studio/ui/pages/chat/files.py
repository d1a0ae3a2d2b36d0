"""What leaves the page: a conversation as Markdown, and an answer as a row of a data file."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from studio.i18n import tr
from studio.runner.conversation import Conversation, Side, Turn, append_row, write_markdown
from studio.ui.bridge import AppContext
from studio.ui.job import Job

MARKDOWN, ROWS = "Markdown (*.md)", "JSON Lines (*.jsonl)"


class ChatFiles:
    """Asks where to, and writes in the background; what came of it is told across the window."""

    def __init__(self, context: AppContext, page: QWidget, conversation: Conversation) -> None:
        self._context, self._page, self._conversation = context, page, conversation
        self._rows = ""  # the file that was chosen last

    def save(self, names: tuple[str, str]) -> None:
        """Save what was said; `names` are those of the other model and of the tuned one."""
        path = self._ask(tr("Save the conversation"), tr("conversation.md"), MARKDOWN, ".md")
        if path is None:
            return
        text = self._conversation.markdown({"other": names[0], "tuned": names[1]})
        job = self._job(tr("Saving"))
        job.start(lambda _: write_markdown(path, text))

    def keep(self, turn: Turn, side: Side) -> None:
        """Add the conversation up to a turn, with the answers of one model, to a data file."""
        name = self._rows or tr("my-rows.jsonl")
        path = self._ask(tr("Add to a data file"), name, ROWS, ".jsonl", adds=True)
        if path is None:
            return
        self._rows = str(path)
        row = self._conversation.row(turn, side)
        job = self._job(tr("Adding a row"))
        words = tr("A row was added to {path}. Correct the answer there before you train on it.")
        job.finished.connect(lambda _: self._context.message.emit(words.format(path=path)))
        job.start(lambda _: append_row(path, row))

    def _job(self, name: str) -> Job:
        """Return a job of its own: the next file must not take the place of one that is still being written."""
        job = Job(self._page, self._context, name)
        job.failed.connect(self._context.message)
        return job

    def _ask(self, title: str, name: str, kind: str, ending: str, *, adds: bool = False) -> Path | None:
        """Return the file to write. Where rows are added, an existing file is what is wanted."""
        asks = QFileDialog.Option.DontConfirmOverwrite if adds else QFileDialog.Option(0)
        chosen, _ = QFileDialog.getSaveFileName(self._page, title, name, kind, options=asks)
        if not chosen:
            return None
        path = Path(chosen)
        if path.suffix.lower() == ending:
            return path
        path = path.with_name(path.name + ending)
        if adds or not path.exists():
            return path
        # The dialog asked about the name that was typed, not about this one.
        self._context.message.emit(tr("{path} exists already. Choose another name.").format(path=path))
        return None
