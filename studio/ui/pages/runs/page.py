"""The Runs page: every past run, to be opened, used again, or deleted."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QLineEdit,
    QMenu,
    QSplitter,
    QStackedLayout,
    QWidget,
)

from studio.engine.control import Progress
from studio.errors import StudioError
from studio.i18n import tr, trn
from studio.runner.continuing import lives_elsewhere
from studio.runner.record import RunRecord
from studio.runner.task import Action
from studio.runner.tensorboard import export_tensorboard
from studio.runs import RunFolder, RunLabel, read_label, write_label
from studio.ui import icons, theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.run_label import LabelDialog
from studio.ui.dialogs.train_on import TrainOn
from studio.ui.folders import show_folder
from studio.ui.job import Job
from studio.ui.models.run_summary import RunSummary, read_summaries, short_name
from studio.ui.models.runs import RunsFilter, RunsModel
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.runs import delete as runs_delete
from studio.ui.pages.runs.detail import RunDetail
from studio.ui.pages.runs.glances import Glances
from studio.ui.pages.runs.table import RunsTable
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.empty import EmptyState, NoRun
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.table import select_row
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

_NARROW_CHARACTERS = 105


class RunsPage(Page):
    """Lists, opens, uses again and deletes runs; reading and deleting happen in the background."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("runs_page")
        self.setAccessibleName(tr("Runs"))
        self._context = context
        self._reading = Job(self, context, tr("Reading the runs"))
        self._opening = Job(self, context, tr("Opening the run"))
        self._exporting = Job(self, context, tr("Writing event files"))
        self.model = RunsModel()
        self.rows = RunsFilter(self.model)
        self.table, self.detail, self.problem = RunsTable(self.rows), RunDetail(), Verdict()
        self._glances = Glances(context, self.table, self.rows, self.model)
        self.progress = TaskProgress()
        self._make_controls()
        self._lay_out()
        self.setFocusProxy(self.table)
        self._connect()
        self._show_selected()

    def reload(self) -> None:
        """Read the list of runs anew, in the background."""
        root = self._context.runs_root
        self._reading.start(lambda progress: read_summaries(root, progress))

    def selected(self) -> RunSummary | None:
        """Return the run that is selected in the table; None where several are."""
        chosen = self.chosen()
        return chosen[0] if len(chosen) == 1 else None

    def chosen(self) -> list[RunSummary]:
        """Return the selected runs from top to bottom."""
        indexes = self.table.selectionModel().selectedRows()
        return [self.rows.run(index) for index in sorted(indexes, key=lambda index: index.row())]

    def compare_selected(self) -> None:
        """Show the selected runs beside each other."""
        from studio.ui.dialogs.runs_comparison import RunsComparison  # loads the plots: half a second

        open_dialog(RunsComparison(self._context, [run.folder for run in self.chosen()], self))

    def open_selected(self) -> None:
        """Show the plots of the selected run."""
        if run := self.selected():
            self.show_run(run.folder)

    def show_run(self, folder: RunFolder) -> None:
        """Show the plots of a run: follow the one that another process trains, read the journal of any other."""
        live = self._context.live
        if live is not None and live.folder == folder:
            self._show_opened(live)
            return
        may_follow = not self._context.controller.running
        self.open.setEnabled(False)
        self._opening.start(lambda progress: (folder, _read(folder, may_follow, progress)))

    def continue_selected(self) -> None:
        """Go on with the selected run; for how long, is asked where it has finished."""
        run = self.selected()
        if run is None:
            return
        if run.status != "finished":
            self._context.continue_requested.emit(run.folder, 0.0)
            return
        dialog = TrainOn(self)
        dialog.wanted.connect(lambda epochs: self._context.continue_requested.emit(run.folder, epochs))
        open_dialog(dialog)

    def start_from_selected(self) -> None:
        """Offer the Setup page a run that begins with what the selected one has trained."""
        if run := self.selected():
            self._context.start_from_requested.emit(run.folder)

    def reuse_selected(self) -> None:
        """Offer the configuration of the selected run to the Setup page."""
        if run := self.selected():
            self._context.configuration_requested.emit(run.folder.config)

    def open_folder(self) -> None:
        """Show the folder of the selected run in the file manager."""
        if run := self.selected():
            show_folder(self._context, run.folder.path)

    def export_tensorboard(self) -> None:
        """Write the event files of the selected run, in the background."""
        if run := self.selected():
            self._exporting.start(lambda progress: export_tensorboard(run.folder, None, progress))

    def _show_exported(self, place: Path) -> None:
        words = tr("The event files are in {path}. All runs are shown by: {command}")
        command = f"tensorboard --logdir {shlex.quote(str(self._context.runs_root))}"
        self.problem.set(words.format(path=place, command=command), "good")

    def delete_selected(self) -> None:
        """Move the selected run to the trash, after a question."""
        run = self.selected()
        # Another process may have taken it since the list was read.
        if run is None or self._lives(run) or lives_elsewhere(run.folder):
            return
        if not runs_delete.ask_trash(self, run.folder.name):
            return
        self._delete(lambda _: runs_delete.trash(run.folder), lambda gone: self._trashed(run.folder, gone))

    def _delete(self, action: Action, then: Callable[[Any], None]) -> None:
        """Each deletion is a job of its own: another one must not take its place."""
        job = Job(self, self._context, tr("Deleting the run"))
        job.finished.connect(then)
        job.failed.connect(self._show_problem)
        job.start(action)

    def _trashed(self, folder: RunFolder, gone: bool) -> None:
        if gone:
            self._forget(folder)
        elif runs_delete.ask_for_good(self, folder.name):
            self._delete(lambda _: runs_delete.remove(folder), lambda _: self._forget(folder))

    def _forget(self, folder: RunFolder) -> None:
        if self._context.record is not None and self._context.record.folder == folder:
            self._context.show_record(None)
        self.reload()

    def _show_runs(self, runs: Sequence[RunSummary]) -> None:
        chosen = self.selected()
        self.problem.set("")
        self.model.set_runs([self._as_it_stands(run) for run in runs])
        self._stack.setCurrentIndex(1 if runs else 0)
        self._show_matches()
        self._select(chosen.folder if chosen else None)
        self._show_selected()

    def label_selected(self) -> None:
        """Ask for the name, the tags and the notes of the selected run."""
        if run := self.selected():
            dialog = LabelDialog(_label_of(run), short_name(run), self)
            dialog.wanted.connect(lambda label: self._write_label(run.folder, label))
            open_dialog(dialog)

    def star_selected(self) -> None:
        """Give the selected run a star, or take it away."""
        if run := self.selected():
            present = _label_of(run)
            self._write_label(run.folder, dataclasses.replace(present, star=not present.star))

    def _write_label(self, folder: RunFolder, label: RunLabel) -> None:
        try:
            write_label(folder.path, label)
        except StudioError as error:
            self._show_problem(str(error))
        else:
            self.reload()

    def _as_it_stands(self, run: RunSummary) -> RunSummary:
        """Of the run that this window trains more is known than its folder says, in whatever process it lives."""
        live, controller = self._context.live, self._context.controller
        if live is None or not controller.running or controller.folder != run.folder:
            return run
        return dataclasses.replace(run, where="", status=live.state.status)

    def _show_menu(self, place: QPoint) -> None:
        """Offer for the row under the mouse, or for the selected one, what the buttons do."""
        index = self.table.indexAt(place)
        if index.isValid() and not self.table.selectionModel().isSelected(index):
            select_row(self.table, index)
        if self.chosen():
            self._menu().popup(self.table.viewport().mapToGlobal(place))

    def _show_more(self) -> None:
        self._menu().popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def _menu(self) -> QMenu:
        menu = QMenu(self.table)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        buttons = (
            self.open,
            self.compare,
            self.go_on,
            self.detail.start_from,
            self.detail.reuse,
            self.detail.describe,
            self.detail.star,
            self.folder,
            self.delete,
        )
        for button in buttons:
            if button in (self.detail.start_from, self.detail.describe, self.folder, self.delete):
                menu.addSeparator()
            action = menu.addAction(button.icon(), button.accessibleName(), button.click)
            action.setEnabled(button.isEnabled())
            action.setToolTip(button.toolTip())
        if run := self.selected():
            menu.insertAction(action, self._copying(menu, run))
            export = QAction(icons.icon("export"), tr("Export for TensorBoard"), menu)
            export.setToolTip(tr("Write the plots of this run as event files into its folder"))
            export.triggered.connect(self.export_tensorboard)
            menu.insertAction(action, export)
        return menu

    def _copying(self, menu: QMenu, run: RunSummary) -> QAction:
        copy = QAction(icons.icon("copy"), tr("Copy path"), menu)
        copy.triggered.connect(lambda: theme.application().clipboard().setText(str(run.folder.path)))
        return copy

    def _select(self, folder: RunFolder | None) -> None:
        """Keep the selection over a reload; with none before, or none left, take the first row."""
        indexes = (self.rows.index(row, 0) for row in range(self.rows.rowCount() if folder else 0))
        kept = next((index for index in indexes if self.rows.run(index).folder == folder), self.rows.index(0, 0))
        if kept.isValid():
            select_row(self.table, kept)

    def _show_selected(self) -> None:
        run = self.selected()
        self.detail.show_run(run)
        self.more.setEnabled(bool(self.chosen()))
        self.compare.setEnabled(2 <= len(self.chosen()) <= theme.MOST_CURVES)
        for button in (self.open, self.folder, self.detail.reuse, self.detail.describe, self.detail.star):
            button.setEnabled(run is not None)
        self.detail.start_from.setEnabled(run is not None and run.can_go_on)
        lives = self._lives(run) if run else ""
        self.delete.setEnabled(run is not None and not lives)
        self.delete.setToolTip(lives or tr("Move this run to the trash (Delete)"))
        self._show_continue(run, lives)

    def _show_continue(self, run: RunSummary | None, lives: str) -> None:
        finished = run is not None and run.status == "finished"
        words = tr("Train on …") if finished else tr("Continue")
        self.go_on.setText(f"\u00a0{words}")
        self.go_on.setAccessibleName(words)
        self.go_on.setEnabled(run is not None and run.can_go_on and not self._context.controller.running)
        if lives or (run is not None and not run.can_go_on):
            self.go_on.setToolTip(lives or tr("There is nothing in this folder to go on with."))
        elif self._context.controller.running:
            self.go_on.setToolTip(tr("A run is under way; stop it before starting another."))
        elif finished:
            self.go_on.setToolTip(tr("Let this run learn for some epochs more, from where it ended"))
        else:
            self.go_on.setToolTip(tr("Go on from the newest checkpoint, as if nothing had happened"))

    def _show_found(self, folder: RunFolder, record: RunRecord | None) -> None:
        if record is not None:
            self._show_opened(record)
            return
        try:
            self._context.attach_run(folder)
        except StudioError as error:
            self._show_problem(str(error))
        else:
            self._context.go_to("train")

    def _show_opened(self, record: RunRecord) -> None:
        self.problem.set("")
        self._context.show_record(record)
        self._context.go_to("train")
        self._show_selected()

    def _show_problem(self, sentence: str) -> None:
        self.problem.set(sentence, "bad")
        self._show_selected()

    def _lives(self, run: RunSummary) -> str:
        """Why a run must be left alone: it is trained, here or elsewhere. Nothing where it is not."""
        if self._context.controller.running and self._context.controller.folder == run.folder:
            return tr("This run is training; stop it first.")
        if run.where == "computer":
            return tr("Another computer trains this run; stop it there first.")
        words = tr("Another process trains this run; stop it there first, or open it here and stop it.")
        return words if run.where else ""

    def _filter(self, text: str) -> None:
        self.rows.search(text)
        self._show_matches()
        if self.selected() is None:
            self._select(None)

    def _show_matches(self) -> None:
        self._matches.setCurrentIndex(0 if self.rows.rowCount() else 1)

    def _make_controls(self) -> None:
        self.search = QLineEdit(clearButtonEnabled=True)
        self.search.setPlaceholderText(tr("Search names, tags, notes …"))
        self.search.setAccessibleName(tr("Filter the runs"))
        self.search.setToolTip(
            tr("Show only runs that have these words in a column, their tags or their notes (Ctrl+F)")
        )
        self.search.setFixedWidth(theme.characters(34))
        self.open = push_button(tr("Open"), "primary", "train", tr("Show plots, figures and log of this run (Enter)"))
        self.folder = push_button(tr("Open folder"), "plain", "folder", tr("Show the run's files"))
        words = tr("Show the selected runs beside each other; select two to {most} rows with Ctrl or Shift")
        about = words.format(most=theme.MOST_CURVES)
        self.compare = push_button(tr("Compare…"), "plain", tooltip=about)
        self.delete = push_button(tr("Delete…"), "danger", "remove")
        self.go_on = push_button(tr("Continue"), "plain", "continue")
        self.more = icon_button("menu", tr("More to do with this run"))
        self.waiting = label("", "muted")
        self.queue = push_button(tr("Queue"), "quiet", "queue", tr("Show what is trained next, and in which order"))

    def _connect(self) -> None:
        self.search.textChanged.connect(self._filter)
        self.show_all.clicked.connect(self.search.clear)
        self.table.selectionModel().selectionChanged.connect(self._show_selected)
        self.table.activated.connect(self.open_selected)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self._reading.finished.connect(self._show_runs)
        self._opening.finished.connect(lambda found: self._show_found(*found))
        self._exporting.finished.connect(self._show_exported)
        self.detail.describe.clicked.connect(self.label_selected)
        self.detail.star.clicked.connect(self.star_selected)
        self.queue.clicked.connect(self._show_queue)
        self.more.clicked.connect(self._show_more)
        self._context.queue_changed.connect(self._show_waiting)
        for job in (self._reading, self._opening, self._glances.job, self._exporting):
            job.failed.connect(self._show_problem)
        self._opening.progressed.connect(self.progress.report)
        self._opening.cancelled.connect(self._show_selected)
        for ended in (self._opening.finished, self._opening.failed, self._opening.cancelled):
            ended.connect(self.progress.hide)
        self.progress.cancelled.connect(self._opening.cancel)
        self.open.clicked.connect(self.open_selected)
        self.compare.clicked.connect(self.compare_selected)
        self.folder.clicked.connect(self.open_folder)
        self.delete.clicked.connect(self.delete_selected)
        self.go_on.clicked.connect(self.continue_selected)
        self.detail.start_from.clicked.connect(self.start_from_selected)
        self._context.open_requested.connect(self.show_run)
        self.detail.reuse.clicked.connect(self.reuse_selected)
        self._context.run_state_changed.connect(self._reload_if_visible)
        keyboard: tuple[tuple[str, QWidget, Callable[[], object]], ...] = (
            ("Del", self.table, self.delete_selected),
            ("F2", self.table, self.label_selected),
            ("Ctrl+D", self.table, self.star_selected),
            ("Ctrl+F", self, self.search.setFocus),
        )
        for keys, widget, slot in keyboard:
            shortcut = QShortcut(QKeySequence(keys), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    def _lay_out(self) -> None:
        buttons = flow(self.compare, self.folder, self.delete, self.go_on, self.more, self.open)
        bar = flow((hbox((label(tr("Runs"), "title"), 1), self.search, spacing=1), 1), buttons)
        self._waiting = QWidget()
        hbox(self.waiting, self.queue, 1, spacing=1, parent=self._waiting)
        self._show_waiting()
        halves = QSplitter(Qt.Orientation.Vertical)
        halves.setHandleWidth(theme.space(1.5))
        halves.setChildrenCollapsible(False)
        halves.addWidget(self.table)
        halves.addWidget(self.detail)
        halves.setStretchFactor(0, 3)
        halves.setStretchFactor(1, 2)
        self.unmatched = EmptyState(
            "runs", tr("No run matches"), tr("No column of any run holds the words of the filter.")
        )
        self.show_all = push_button(tr("Show all runs"), "plain", tooltip=tr("Clear the filter"))
        self.unmatched.add(self.show_all)
        matches = QWidget()
        self._matches = QStackedLayout(matches)  # without a parent it would show its first widget as a window
        self._matches.addWidget(halves)
        self._matches.addWidget(self.unmatched)
        listing = QWidget()
        vbox(
            bar,
            self._waiting,
            self.problem,
            self.progress,
            (matches, 1),
            spacing=1.5,
            margins=(3, 2.5, 3, 2),
            parent=listing,
        )
        self._stack = QStackedLayout(self)
        sentence = tr("Every run is kept here with its configuration and plots.")
        self.empty = NoRun(self._context, "runs", tr("No runs yet"), sentence, past_runs=False)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(listing)

    def _show_waiting(self) -> None:
        """Say how many runs of the queue wait; with none, nothing."""
        count = len(self._context.queue.runs)
        self._waiting.setVisible(count > 0)
        words = trn("{count} run waits in the queue.", "{count} runs wait in the queue.", count)
        self.waiting.setText(words.format(count=f"{count:,}"))

    def _show_queue(self) -> None:
        from studio.ui.dialogs.queue import QueueDialog

        open_dialog(QueueDialog(self._context, self))

    def _reload_if_visible(self) -> None:
        if self.isVisible():
            self.reload()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, what is done seldom moves into a menu."""
        super().resizeEvent(event)
        narrow = event.size().width() < theme.characters(_NARROW_CHARACTERS)
        seldom = self.folder, self.delete, self.detail.start_from, self.detail.describe, self.detail.star
        for button in seldom:
            button.setVisible(not narrow)
        self.more.setVisible(narrow)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.reload()


def _label_of(run: RunSummary) -> RunLabel:
    """Return the label as the folder has it now, which may be newer than the list; a damaged one is replaced."""
    try:
        return read_label(run.folder.path)
    except StudioError:
        return run.label


def _read(folder: RunFolder, may_follow: bool, progress: Progress) -> RunRecord | None:
    """Read a run; None where another process trains it and it is to be followed."""
    if may_follow and lives_elsewhere(folder) == "process":
        return None
    folder.read_state()
    return RunRecord.of_folder(folder, progress)
