"""The main window: rail, pages, run bar and menus. It connects them; the pages and the context do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QShortcut, QUndoStack
from PySide6.QtWidgets import (
    QFileDialog,
    QMainWindow,
    QStackedWidget,
    QWidget,
)

from studio.config import RunConfig, read_config
from studio.errors import StudioError
from studio.i18n import LANGUAGES, tr
from studio.runner import self_test
from studio.runner.command_line import keep_configuration, train_line
from studio.runner.continuing import LeftRuns
from studio.runner.opening import Opening, what_opens
from studio.runner.verdicts import remedied
from studio.runs import RunFolder
from studio.ui import icons, motion, theme
from studio.ui.actions import PAGES, TITLES, build_actions
from studio.ui.bridge import AppContext
from studio.ui.closing import Closing
from studio.ui.continuing import Continuing
from studio.ui.folders import show_folder
from studio.ui.help import Help
from studio.ui.job import Job
from studio.ui.language import speak
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.setup.page import SetupPage
from studio.ui.place import bring_forward, open_dialog, remember_place, restore_place
from studio.ui.widgets.banner import Banner
from studio.ui.widgets.cut_off_card import CutOffCard
from studio.ui.widgets.drop_overlay import DropOverlay
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.rail import Rail
from studio.ui.widgets.run_bar import RunBar

# Commands that are on or off, by the setting of the same name.
SWITCHES = ("notify", "keep_awake", "show_progress")


class MainWindow(QMainWindow):
    """Built anew when the language changes; the context and the run that is under way stay as they are."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context = context
        self.page = "setup"
        self.closing = Closing(context, self)
        self.closing.waiting.connect(self._show_stopping)
        self.closing.ended.connect(self.close)
        self.continuing = Continuing(context, self)
        self.help = Help(context, self, lambda: self.page, self._tour_target)
        self._left: LeftRuns | None = None
        self.setWindowTitle("Finetune Studio")
        self.setAcceptDrops(True)
        restore_place(self, context.settings)
        with theme.styled_at_the_end():
            self._build()
        context.page_requested.connect(self.go_to)
        context.configuration_requested.connect(self._show_configuration)
        context.start_from_requested.connect(self._start_from)
        context.queue_changed.connect(self._show_run_state)
        self.continuing.found_cut_off.connect(self._show_left)
        context.remedy_requested.connect(self._offer_remedy)
        context.message.connect(self._show_message)
        context.record_changed.connect(self._show_record)
        context.run_state_changed.connect(self._show_run_state)
        motion.notifier().changed.connect(self._show_motion)

    def go_to(self, page: str) -> None:
        """Show the page called setup, train, numerics, chat, export or runs."""
        self.page = page
        self._prepare(page)
        self.stack.setCurrentWidget(self.pages[page])
        self.rail[page].setChecked(True)
        self.actions_by_name[f"page_{page}"].setChecked(True)
        self.context.show_page(self.pages[page])

    def prepare_pages(self) -> None:
        """Make the pages that were not shown yet, one a turn of the event loop."""
        missing = [name for name in PAGES if name not in self.pages]
        if missing:
            self._prepare(missing[0])
            QTimer.singleShot(0, self.prepare_pages)

    def start(self) -> None:
        """Start training with the configuration of the Setup page, and show it; or say why that cannot be.

        What is still being read is waited for.
        """
        problem = self.setup.start_problem()
        self._starts_when_read = bool(problem) and self.setup.pending and not self.context.controller.running
        if self.context.controller.running:
            self._show_message(tr("A run is under way; stop it before starting another."))
        elif self._starts_when_read:
            self._show_run_state()
        elif problem:
            self._show_message(problem)
        else:
            self._start(self.setup.config, "train")

    def quit_saving(self) -> None:
        """Stop and save, then close: what a logout or a termination signal asks for."""
        if self.context.busy:
            self.closing.end()
        else:
            self.close()

    def open_path(self, path: str) -> None:
        """Open a run folder, a model folder, a configuration or a dataset file, or say why that cannot be."""
        try:
            self._open_all([what_opens(path)])
        except StudioError as error:
            self._show_message(str(error))

    def show_asked(self, opening: Opening | None, token: str) -> None:
        """Come to the front, and open what another start of the program was given.

        Args:
            token: as `bring_forward` takes it.
        """
        if opening is not None:
            self._open_all([opening])
        bring_forward(self, token)

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        self.overlay.offer(event)

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.closing.may_close():
            event.ignore()
            return
        remember_place(self, self.context.settings)
        self.setup.keep_draft()  # what was typed a moment ago, too
        self.context.settings.save()
        event.accept()

    def _build(self) -> None:
        self._commands = QObject(self)
        self.actions_by_name = build_actions(self.menuBar(), self._commands, self._handlers())
        self.setup = SetupPage(self.context)
        self.pages: dict[str, Page] = {"setup": self.setup}
        self.banner = Banner()
        actions = self.actions_by_name
        self.cut_off = CutOffCard(self.context)
        self.cut_off.answered.connect(lambda: self._show_left(None))
        self.run_bar = RunBar(self.context, actions["start"], actions["pause"], actions["stop"], actions["queue"])
        self._lay_out()
        self.setup.changed.connect(self._follow_setup)
        self._starts_when_read = False
        # A disabled action does not hear its keys: whoever presses them is told why nothing starts.
        self._asked_to_start = QShortcut(actions["start"].shortcut(), self.run_bar, self.start)
        self.setup.enqueue_requested.connect(self._enqueue)
        self.setup.undo.indexChanged.connect(self._show_undo)
        actions[f"theme_{theme.choice()}"].setChecked(True)
        for name in SWITCHES:
            actions[name].setChecked(getattr(self.context.settings, name))
        actions[f"language_{self.context.settings.language}"].setChecked(True)
        self._show_motion()
        self._show_record()
        self._show_run_state()
        self._show_undo()
        self._show_left(self._left)
        self.go_to(self.page)
        self.setup.model.path.setFocus()

    def _lay_out(self) -> None:
        self.stack = QStackedWidget()
        self.stack.addWidget(self.setup)
        self._card_room = QWidget()
        hbox(self.cut_off, margins=(3, 1.5, 2, 0), parent=self._card_room)
        right = vbox(self.banner, self._card_room, (self.stack, 1), spacing=0)
        rail = Rail({name: self.actions_by_name[f"page_{name}"] for name in PAGES})
        self.rail = rail.buttons
        upper = hbox(rail, (right, 1), spacing=0)
        centre = QWidget()
        vbox((upper, 1), self.run_bar, spacing=0, parent=centre)
        self.setCentralWidget(centre)
        self.overlay = DropOverlay(centre)
        self.overlay.dropped.connect(self._open_all)

    def _prepare(self, name: str) -> None:
        if name not in self.pages:
            self.pages[name] = page = _make_page(name, self.context)
            self.stack.addWidget(page)

    def _handlers(self) -> dict[str, Callable[[], object]]:
        handlers: dict[str, Callable[[], object]] = {
            "open_configuration": self._open_configuration,
            "save_configuration": self._save_configuration,
            "presets": self._choose_preset,
            "runs_folder": self._choose_runs_folder,
            "laboratory": self._open_laboratory,
            "quit": self.close,
            "undo": partial(self._undo, QUndoStack.undo),
            "redo": partial(self._undo, QUndoStack.redo),
            "start": self.start,
            "pause": self.context.toggle_pause,
            "checkpoint": self.context.save_checkpoint,
            "stop": self._stop,
            "continue": self._continue,
            "enqueue": self._enqueue,
            "queue": self._show_queue,
            "copy_line": self._copy_line,
            "cluster": self._show_cluster,
            "open_run_folder": self._open_run_folder,
            "export": partial(self.go_to, "export"),
            "self_test": self._self_test,
        }
        handlers |= self.help.handlers()
        handlers |= {f"page_{name}": partial(self.go_to, name) for name in PAGES}
        handlers |= {name: partial(self._switch, name) for name in SWITCHES}
        handlers |= {f"theme_{choice}": partial(self._choose_theme, choice) for choice in theme.CHOICES}
        handlers |= {
            "reduce_motion": self._reduce_motion,
            "font_larger": partial(self._change_font, 1),
            "font_smaller": partial(self._change_font, -1),
            "font_usual": partial(self._change_font, 0),
        }
        return handlers | {f"language_{key}": partial(self._choose_language, key) for key in LANGUAGES}

    def _open_configuration(self) -> None:
        self.go_to("setup")
        self.setup.open_configuration()

    def _open_all(self, found: Sequence[Opening]) -> None:
        """Configurations come first, for they replace the model and the data that others set."""
        for one in sorted(found, key=lambda one: one.kind != "configuration"):
            match one.kind:
                case "configuration":
                    self._show_configuration(one.path)
                case "run":
                    self.go_to("runs")  # where the reading of a long run shows its progress
                    self.context.open_requested.emit(RunFolder(one.path))
                case "model":
                    self.go_to("setup")
                    self.setup.model.choose(str(one.path))
                case "data":
                    self.go_to("setup")
                    self.setup.data.add_files([str(one.path)])

    def _save_configuration(self) -> None:
        self.go_to("setup")
        self.setup.save_configuration()

    def _choose_preset(self) -> None:
        self.go_to("setup")
        self.setup.choose_preset()

    def _undo(self, step: Callable[[QUndoStack], None]) -> None:
        """Take a change of the Setup page back, or make it again, in sight."""
        self.go_to("setup")
        step(self.setup.undo)

    def _show_undo(self) -> None:
        undo = self.setup.undo
        for name, possible, change in (
            ("undo", undo.canUndo(), tr("&Undo: {change}").format(change=_shown(undo.undoText()))),
            ("redo", undo.canRedo(), tr("&Redo: {change}").format(change=_shown(undo.redoText()))),
        ):
            self.actions_by_name[name].setEnabled(possible)
            self.actions_by_name[name].setText(change if possible else tr(TITLES[name]))

    def _show_configuration(self, path: Path) -> None:
        self.go_to("setup")
        self.setup.load_configuration(path)

    def _open_laboratory(self) -> None:
        from studio.ui.dialogs.laboratory import Laboratory  # with pyqtgraph, when it is first needed

        dialog = Laboratory(self.context, self)
        dialog.wanted.connect(self._run_experiment)
        open_dialog(dialog)

    def _show_left(self, left: LeftRuns | None) -> None:
        """Tell of the runs that were cut off, until the user has answered."""
        self._left = left
        self._card_room.setVisible(left is not None)
        if left is not None:
            self.cut_off.show_left(left)

    def _start_from(self, folder: RunFolder) -> None:
        """Fill the Setup page for a run that begins with what another one has trained."""
        self._show_configuration(folder.config)
        self.setup.start_from(folder)

    def _continue(self) -> None:
        record = self.context.record
        if record is not None and record.folder is not None:
            self.context.continue_requested.emit(record.folder, 0.0)

    def _enqueue(self) -> None:
        """Put the present configuration at the end of the queue."""
        try:
            self.context.enqueue(self.setup.config())
        except StudioError as error:
            self._show_message(str(error))
        else:
            self._show_queue()

    def _show_queue(self) -> None:
        from studio.ui.dialogs.queue import QueueDialog

        dialog = QueueDialog(self.context, self)
        open_dialog(dialog)

    def _copy_line(self) -> None:
        """Put the line that trains with the present configuration on the clipboard."""
        try:
            file = keep_configuration(self.setup.config())
        except StudioError as error:
            self._show_message(str(error))
            return
        theme.application().clipboard().setText(train_line(file, self.context.runs_root))
        words = tr("The command line is on the clipboard. The configuration that it names is {file}.")
        self.banner.show_sentence(words.format(file=file), "good")

    def _show_cluster(self) -> None:
        """Show the present configuration as commands for more than one GPU."""
        from studio.ui.dialogs.cluster import ClusterDialog

        try:
            config = self.setup.config()
        except StudioError as error:
            self._show_message(str(error))
            return
        dialog = ClusterDialog(config, self.context.runs_root, self.setup.save_configuration, self)
        open_dialog(dialog)

    def _run_experiment(self, path: Path) -> None:
        """Show an experiment's settings on the Setup page, start it, and watch its numbers."""
        self._show_configuration(path)
        self._start(partial(read_config, path), "numerics")

    def _start(self, config: Callable[[], RunConfig], page: str) -> None:
        try:
            self.context.start_run(config())
        except StudioError as error:
            self._show_message(str(error))
        else:
            self.banner.hide()
            self.go_to(page)

    def _offer_remedy(self, name: str) -> None:
        assert self.context.record is not None
        try:
            config = remedied(self.context.record, name)
        except StudioError as error:
            self._show_message(str(error))
        else:
            self.go_to("setup")
            self.setup.replace(config.model_dump(mode="json", exclude_none=True), tr("take the remedy"))

    def _stop(self) -> None:
        if self.context.stop():
            self._show_stopping()

    def _show_stopping(self) -> None:
        self.run_bar.show_stopping()
        for name in ("start", "pause", "checkpoint", "stop"):
            self.actions_by_name[name].setEnabled(False)

    def _choose_runs_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, tr("Where new runs are kept"), str(self.context.runs_root))
        if folder:
            self.context.choose_runs_root(Path(folder))

    def _open_run_folder(self) -> None:
        if self.context.record is not None and self.context.record.folder is not None:
            show_folder(self.context, self.context.record.folder.path)

    def _switch(self, name: str) -> None:
        """Keep whether the desktop hears of something while a run trains."""
        setattr(self.context.settings, name, self.actions_by_name[name].isChecked())
        self.context.settings_changed.emit()

    def _choose_theme(self, choice: theme.Choice) -> None:
        theme.choose(choice)
        self.context.settings.theme = choice

    def _reduce_motion(self) -> None:
        on = self.actions_by_name["reduce_motion"].isChecked()
        self.context.settings.reduce_motion = on
        motion.reduce(on)

    def _show_motion(self) -> None:
        self.actions_by_name["reduce_motion"].setChecked(motion.reduced())

    def _choose_language(self, language: str) -> None:
        if language == self.context.settings.language:
            return
        self.context.settings.language = language
        if self._works():
            self._show_message(tr("The language changes at the next start, because something is still under way."))
            return
        speak(language)
        self._build_anew()

    def _change_font(self, direction: int) -> None:
        """Write everything larger (1), smaller (-1) or in the usual size (0)."""
        before = self.context.settings.font_size
        place = theme.FONT_SIZES.index(before if direction else theme.USUAL_FONT) + direction
        wanted = theme.FONT_SIZES[min(max(place, 0), len(theme.FONT_SIZES) - 1)]
        if wanted == before:
            return
        self.context.settings.font_size = wanted
        if self._works():
            self._show_message(tr("The font size changes at the next start, because something is still under way."))
            return
        with theme.styled_at_the_end():
            theme.set_font_size(wanted)
            self._build_anew()

    def _works(self) -> bool:
        """Whether something is under way whose answer is for the pages that there are now."""
        self.setup.drop_questions()
        return any(job.running for job in self.findChildren(Job))

    def _build_anew(self) -> None:
        """Make every page again, with the configuration as it stands."""
        self.help.forget()
        tables = self.setup.tables()
        self._commands.deleteLater()
        with theme.styled_at_the_end():
            self._build()
        self.setup.set_tables(tables)

    def offer_self_test(self) -> None:
        """Offer the self-test the first time that the window is opened, unless the installation has made it."""
        if not self.context.settings.self_test_offered and not self_test.has_passed():
            self.context.settings.self_test_offered = True
            words = tr("New here? The self-test trains the starter model for 20 seconds and shows what came of it.")
            self.banner.show_sentence(words, "note", self.actions_by_name["self_test"])

    def _self_test(self) -> None:
        from studio.ui.dialogs.self_test import SelfTestDialog  # with pyqtgraph, when it is first needed

        if self.context.controller.running:
            self._show_message(tr("A run is under way; stop it before the self-test."))
            return
        self.banner.hide()
        open_dialog(SelfTestDialog(self.context, self))

    def _tour_target(self, about: str) -> QWidget:
        """Return the control that a step of the tour is about, in sight."""
        targets: dict[str, QWidget] = {
            "model": self.setup.model,
            "data": self.setup.data.drop_area,
            "presets": self.setup.presets,
            "start": self.run_bar.start,
            "pages": self.rail["chat"],
        }
        self.setup.area.ensureWidgetVisible(targets[about])
        return targets[about]

    def _show_message(self, sentence: str) -> None:
        self.banner.show_sentence(sentence)

    def _show_record(self) -> None:
        record = self.context.record
        for page in self.pages.values():
            page.show_record(record)
        for name in ("open_run_folder", "export"):
            self.actions_by_name[name].setEnabled(record is not None)
        self.actions_by_name["continue"].setEnabled(self.context.can_continue)

    def _follow_setup(self) -> None:
        """Start what was to start as soon as everything is read."""
        if self._starts_when_read and not self.setup.pending:
            self.start()
        self._show_run_state()

    def _show_run_state(self) -> None:
        context, actions = self.context, self.actions_by_name
        running, stopping = context.controller.running, context.controller.stopping
        problem = self.setup.start_problem()
        actions["start"].setEnabled(not running and not problem)
        self._asked_to_start.setEnabled(not actions["start"].isEnabled())
        for widget in (actions["enqueue"], self.setup.enqueue):
            widget.setEnabled(not problem)
        actions["pause"].setEnabled(running and not stopping)
        actions["pause"].setText(tr("&Resume") if context.waits else tr("&Pause"))
        icons.bind(actions["pause"], "play" if context.waits else "pause", "muted")
        actions["checkpoint"].setEnabled(running and not stopping and not context.saving_checkpoint)
        actions["stop"].setEnabled(running and not stopping)
        actions["continue"].setEnabled(context.can_continue)
        if self._starts_when_read:
            problem = tr("The run starts as soon as everything has been read.")
        self.run_bar.show_reason(problem)
        self.run_bar.refresh()


def _shown(text: str) -> str:
    """Return a text for a menu, in which a single & would underline the letter after it."""
    return text.replace("&", "&&")


def _make_page(name: str, context: AppContext) -> Page:
    """Make a page; its module, and pyqtgraph with it, is imported when it is first needed."""
    if name == "train":
        from studio.ui.pages.train.page import TrainPage

        return TrainPage(context)
    if name == "numerics":
        from studio.ui.pages.numerics.page import NumericsPage

        return NumericsPage(context)
    if name == "chat":
        from studio.ui.pages.chat.page import ChatPage

        return ChatPage(context)
    if name == "export":
        from studio.ui.pages.export.page import ExportPage

        return ExportPage(context)
    from studio.ui.pages.runs.page import RunsPage

    return RunsPage(context)
