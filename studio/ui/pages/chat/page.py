"""The Chat page: one prompt, two answers side by side, the base's and the tuned model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from studio.i18n import sentences, tr
from studio.runner.conversation import Conversation
from studio.runner.record import RunRecord
from studio.runs import RunFolder
from studio.text.numbers import size_text
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.exports import PastExport, read_exports
from studio.ui.models.run_summary import RunSummary, read_summaries
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.chat.choice import ModelChoice
from studio.ui.pages.chat.files import ChatFiles
from studio.ui.pages.chat.known import KnownPrompts
from studio.ui.pages.chat.prompt import PromptBox
from studio.ui.pages.chat.settings import ChatOptions
from studio.ui.pages.chat.transcript import Transcript
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.empty import NoRun
from studio.ui.widgets.layout import hbox, scrolled, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.inference.prompts import KnownPrompt


class ChatPage(Page):
    """Shows the run of the other pages first; any other that has learnt something can be chosen."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("chat_page")
        self.setAccessibleName(tr("Chat"))
        self._context = context
        self._shown: Path | None = None
        self._training = self._working = self._memory_wanted = self._arrived = False
        self._known: KnownPrompt | None = None
        self.conversation = Conversation()
        self.files = ChatFiles(context, self, self.conversation)
        self.known = KnownPrompts(context, self)
        self.choice, self.options, self.transcript = ModelChoice(), ChatOptions(), Transcript()
        self.prompt, self.progress, self.problem = PromptBox(), TaskProgress(), Verdict()
        self.send_button = push_button(tr("Send"), "primary", "send", tr("Ask both models (Enter)"))
        self.stop_button = push_button(tr("Stop"), "danger", "stop", tr("End the answers here (Esc)"))
        self.new_button = push_button(
            tr("New conversation"), "quiet", "add", tr("Forget what was said, and begin anew with the same models")
        )
        self.save_button = push_button(tr("Save"), "quiet", "save", tr("Save what was said as a Markdown file"))
        self._answering = Job(self, context, tr("Asking the models"))
        self._releasing = Job(self, context, tr("Giving memory back"))
        self._read_runs = Job(self, context, tr("Reading the runs"))
        self._read_exports = Job(self, context, tr("Reading the exports"))
        self._lay_out()
        self._connect()
        self._show_state()

    @override
    def show_record(self, record: RunRecord | None) -> None:
        """Choose the run that the other pages show, if it has learnt something."""
        if self.isVisible():
            self.reload()

    def reload(self) -> None:
        """Read anew, in the background, which runs can be asked. While one answers, it stays chosen."""
        root = self._context.runs_root
        if not self._answering.running:
            self._read_runs.start(lambda progress: read_summaries(root, progress))

    def send(self) -> None:
        """Ask both models what was typed."""
        pair, prompt = self.choice.pair, self.prompt.toPlainText().strip("\n")
        if pair is None or not prompt.strip() or self._answering.running or self.options.problem:
            return
        self.problem.set("")
        known = self._known if self._known is not None and self._known.prompt == prompt else None
        action = self.conversation.ask(pair, prompt, self.options.settings, known.answer if known else "")
        self.transcript.add(self.conversation.turns[-1], self.choice.names)
        self.prompt.clear()
        self._answering.start(action)
        if not self.conversation.holds(pair):
            self.progress.report("starting", 0, 0)
        self._show_state()

    def stop(self) -> None:
        """End the answers where they are."""
        self._answering.cancel()

    def begin_anew(self) -> None:
        """Forget what was said."""
        self.conversation.begin_anew()
        self.transcript.clear()
        self.problem.set("")
        self._show_state()

    def _take(self, known: KnownPrompt) -> None:
        """Put a known prompt where questions are typed; the settings get the system prompt of its row."""
        self._known = known
        self.prompt.setPlainText(known.prompt)
        self.prompt.setFocus()
        if known.origin == "held_out":
            self.options.editors["system"].set_value(known.system)

    def _poll(self) -> None:
        if self.conversation.turns and self.conversation.poll():
            self.transcript.views[-1].refresh(tr("Waits for the other answer"))

    def _report(self, stage: str, done: int, total: int) -> None:
        if stage == "asking":
            self.progress.hide()
        else:
            self.progress.report(stage, done, total)

    def _end_turn(self, problem: str = "") -> None:
        """Show what came of the newest question; one that was not answered at all goes back to where it was typed."""
        turn = self.conversation.turns[-1]
        self.conversation.end_turn()
        if turn in self.conversation.turns:
            self.transcript.views[-1].refresh()
        else:
            self.transcript.take_back()
            if not self.prompt.toPlainText():
                self.prompt.setPlainText(turn.prompt)
        self.problem.set(problem, "bad")
        self._show_state()
        self._give_back()
        self._show_memory()
        self.reload()

    def _show_runs(self, runs: list[RunSummary]) -> None:
        if self._answering.running:  # they are read again when that has ended
            return
        self.choice.set_runs([run for run in runs if run.can_be_asked], self._newly_shown())
        self._show_run()
        empty = self.choice.pair is None
        self._stack.setCurrentIndex(0 if empty else 1)
        if not empty and self._arrived:
            self._arrived = False
            self.prompt.setFocus()
        self._show_state()

    def _show_run(self) -> None:
        """Read the exports of the chosen run."""
        pair = self.choice.pair
        if pair is None:
            self._read_exports.drop()
            return
        folder = RunFolder(pair.run)
        self._read_exports.start(lambda _: read_exports(folder))

    def _show_exports(self, exports: list[PastExport]) -> None:
        if not self._answering.running:
            self.choice.set_exports(exports)

    def _show_pair(self) -> None:
        """Begin a new conversation with other models."""
        self.begin_anew()
        summary = self.choice.summary
        plain = summary is not None and summary.continues_text
        self.options.editors["asked"].set_value("plain" if plain else "template")
        self.known.set_pair(self.choice.pair)
        self._show_memory()

    def _show_memory(self) -> None:
        """Say how many models are in memory, and what they take."""
        chat, pair, summary = self.conversation.chat, self.choice.pair, self.choice.summary
        sentence = ""
        if pair is not None and chat is not None and self.conversation.holds(pair):
            words = (
                tr("One model of {size} is in memory, and answers as both. {note}")
                if chat.copies == 1
                else tr("Two models are in memory and take {size}. {note}")
            )
            sentence = words.format(size=size_text(chat.bytes), note=chat.note).strip()
        elif summary is not None and summary.method == "full":
            sentence = tr("Full fine-tuning has changed all weights, so two models will be in memory.")
        if self._training:
            sentence = sentences((sentence, tr("A run is training: it and the answers are slower at the same time.")))
        self.memory.setText(sentence)
        self.memory.setVisible(bool(sentence))

    def _show_options(self) -> None:
        self.problem.set(self.options.problem, "bad")
        self._show_state()

    def _show_state(self) -> None:
        self.show_busy(busy=self._answering.running)

    def show_busy(self, *, busy: bool) -> None:
        """Show what can be done while the models answer, or while they do not."""
        self.send_button.setVisible(not busy)
        self.stop_button.setVisible(busy)
        self.send_button.setEnabled(bool(self.prompt.toPlainText().strip()) and not self.options.problem)
        for button in (self.new_button, self.save_button):
            button.setEnabled(bool(self.conversation.turns) and not busy)
        self.choice.setEnabled(not busy)
        if not busy:
            self.progress.hide()
        self._hint.setVisible(not self.conversation.turns)
        self.transcript.setVisible(bool(self.conversation.turns))

    def _follow_training(self) -> None:
        """Give the memory back when a training begins or goes on; ask one that waits, or has ended, as it is now."""
        controller = self._context.controller
        training = controller.running and not self._context.waits
        begins, self._training = training and not self._training, training
        working = controller.running and not controller.paused
        rests, self._working = self._working and not working, working
        if begins:
            self._memory_wanted = True
            self._give_back()
        if rests:
            self.conversation.renew()
            self.reload()
        self._show_memory()

    def _give_back(self) -> None:
        """Give the memory to a training that wants it, once no answer is under way."""
        if not self._memory_wanted or self._answering.running:
            return
        self._memory_wanted = False
        if self.conversation.chat is not None:
            self._releasing.start(self.conversation.release)

    def _newly_shown(self) -> Path | None:
        """Return the run of the other pages when it became another one; otherwise the choice here stands."""
        record = self._context.record
        shown = record.folder.path if record is not None and record.folder is not None else None
        before, self._shown = self._shown, shown
        return shown if shown != before else None

    def _connect(self) -> None:
        self.prompt.sent.connect(self.send)
        self.prompt.textChanged.connect(self._show_state)
        self.options.changed.connect(self._show_options)
        self.send_button.clicked.connect(self.send)
        self.stop_button.clicked.connect(self.stop)
        self.progress.cancelled.connect(self.stop)
        self.new_button.clicked.connect(self.begin_anew)
        self.save_button.clicked.connect(lambda: self.files.save(self.choice.names))
        self.transcript.keep_requested.connect(self.files.keep)
        self.known.chosen.connect(self._take)
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.activated.connect(self.stop)
        self.choice.run_chosen.connect(self._show_run)
        self.choice.changed.connect(self._show_pair)
        self._answering.progressed.connect(self._report)
        self._answering.finished.connect(lambda _: self._end_turn())
        self._answering.cancelled.connect(self._end_turn)
        self._answering.failed.connect(self._end_turn)
        self._releasing.finished.connect(lambda _: self._show_memory())
        self._releasing.failed.connect(lambda sentence: self.problem.set(sentence, "bad"))
        self._read_runs.finished.connect(self._show_runs)
        self._read_exports.finished.connect(self._show_exports)
        for reading in (self._read_runs, self._read_exports):
            reading.failed.connect(lambda sentence: self.problem.set(sentence, "bad"))
        self._context.polled.connect(self._poll)
        self._context.run_state_changed.connect(self._follow_training)

    def _lay_out(self) -> None:
        self._stack = QStackedWidget()
        self._stack.addWidget(
            NoRun(
                self._context,
                "chat",
                tr("No model to talk with yet"),
                tr("Once a run has learnt something, ask it and its base the same question, and read both answers."),
            )
        )
        self._stack.addWidget(self._make_conversation())
        vbox((self._stack, 1), parent=self)

    def _make_conversation(self) -> QWidget:
        sentence = tr("The same question, seed and settings for both. The first token that differs is underlined.")
        words = vbox(label(tr("Chat"), "title"), label(sentence, "muted", wrap=True), spacing=0.25)
        self.memory = label("", "caption", wrap=True)
        self._hint = label(tr("Type a question below."), "muted")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.settings = Disclosure(tr("Settings"))
        self.settings.content.addWidget(self.options)
        buttons = vbox(self.known.button, self.send_button, self.stop_button, spacing=0.5)
        self._page = QWidget()
        bottom = Qt.AlignmentFlag.AlignBottom
        vbox(
            hbox((words, 1), (self.save_button, 0, bottom), (self.new_button, 0, bottom), spacing=0.5),
            self.settings,
            self.choice,
            (self.transcript, 1),
            (self._hint, 1),
            self.progress,
            self.problem,
            hbox((self.prompt, 1), (buttons, 0), spacing=1),
            self.memory,
            spacing=1,
            margins=(3, 2.5, 3, 1.5),
            parent=self._page,
        )
        return scrolled(self._page, tr("Chat"))

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._arrived = True  # the prompt gets the focus once there is a model to ask
        self.reload()
