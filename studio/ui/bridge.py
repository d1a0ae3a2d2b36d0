"""What connects the window with its background work: a timer polls the workers, which never call the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from studio.config import RunConfig
from studio.errors import StudioError
from studio.events import CheckpointFailed, CheckpointSaved, RunFailed, RunFinished, RunResumed
from studio.i18n import sentences, tr
from studio.paths import home
from studio.runner.controller import Controller
from studio.runner.queue import RunQueue
from studio.runner.state import RunInterrupted, Update
from studio.runner.task import Action, Task
from studio.runner.verdicts import ended_words, remedy_words
from studio.runs import RunFolder
from studio.text.resume import resumed_text
from studio.text.words import refusal_text
from studio.ui.page import Page
from studio.ui.settings import Settings

if TYPE_CHECKING:  # numpy comes with them, and the window opens without it
    from studio.runner.record import RunRecord
    from studio.runner.watch import Watch

POLL_MILLISECONDS = 33


class AppContext(QObject):
    """What every page gets: the controller, the run that is shown, and the tasks under way.

    `live` is the run that trains now or trained last in this window; `record` is the run that the pages show.
    `record_changed` says that another run is shown, `run_state_changed` that training began, ended, paused or went
    on, `progressed` that the live run's record has grown (at most once a tick), `configuration_requested` that the
    Setup page is to show the config.toml at a path, `start_from_requested` that the next run is to start from what the
    run in a folder has trained, `open_requested` that the run in a folder is to be shown, `continue_requested` that it
    is to go on, with so many epochs more,
    `remedy_requested` that the user chose a remedy for the shown run, which has ended, `queue_changed` that other runs
    wait, `settings_changed` that the user switched what the desktop hears of runs, `polled` that it is time to look at
    background work.
    """

    record_changed = Signal()
    run_state_changed = Signal()
    progressed = Signal()
    page_requested = Signal(str)
    configuration_requested = Signal(object)
    start_from_requested = Signal(object)
    open_requested = Signal(object)
    continue_requested = Signal(object, float)
    remedy_requested = Signal(str)
    queue_changed = Signal()
    settings_changed = Signal()
    message = Signal(str)
    polled = Signal()

    def __init__(
        self,
        settings: Settings,
        controller: Controller | None = None,
        queue: RunQueue | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.settings = settings
        self.controller = controller or Controller(attended=True)
        self.queue = queue or RunQueue(home() / "queue.json")
        self.saving_checkpoint = False
        self.record: RunRecord | None = None
        self.live: RunRecord | None = None
        self.ending = False
        self._changes_asked_for: tuple[str, ...] = ()
        self._watch: Watch | None = None
        self._page: Page | None = None
        self._seen: dict[int, tuple[int, int]] = {}
        self._tasks: list[Task] = []
        self._status: tuple[object, ...] | None = None
        self._timer = QTimer(self, interval=POLL_MILLISECONDS)
        self._timer.timeout.connect(self.tick)

    @property
    def runs_root(self) -> Path:
        """The folder that new runs are written to and that the Runs page lists."""
        return self.settings.runs_root

    @property
    def busy(self) -> bool:
        """Whether there is something to poll: a run, wherever it lives, or background work."""
        return self.controller.running or any(not task.done for task in self._tasks)

    @property
    def survives_closing(self) -> bool:
        """Whether the run that is under way lives in its own process, which goes on when the window is closed."""
        return self.controller.running and self.controller.where == "process"

    @property
    def can_continue(self) -> bool:
        """Whether the run that the pages show has come to an end from which it could go on now."""
        record = self.record
        ended = record is not None and record.folder is not None and record.state.ended
        return ended and not self.controller.running

    @property
    def waits(self) -> bool:
        """Whether the run was asked to wait, and not yet to go on."""
        controller = self.controller
        return controller.running and (controller.paused or controller.pausing) and not controller.resuming

    @property
    def shows_training(self) -> bool:
        """Whether the run that the pages show is under way: it trains, or waits to go on."""
        shown = self.record
        return shown is not None and shown is self.live and self.controller.running and not shown.state.ended

    def start_run(self, config: RunConfig) -> None:
        """Start training and show it. Raises `StudioError` when it cannot start."""
        folder = self.controller.start(config, self.runs_root, self.settings.where)
        self._show_new(folder)

    def continue_run(self, record: RunRecord, changes: Sequence[str] = (), *, consent: bool = False) -> None:
        """Let a run that has ended, or was cut off, go on from its newest checkpoint, and show it.

        Args:
            changes: settings to replace, as `section.key=value`.
            consent: go on though the files of the base or of the data have changed.

        Raises:
            StudioError: it cannot go on.
        """
        assert record.folder is not None
        self.controller.resume_run(record.folder, changes, where=self.settings.where, consent=consent)
        self._changes_asked_for = tuple(changes)
        record.begin_again()
        self._show_live(record)

    def continue_on_purpose(self) -> None:
        """Let the run that is shown go on, as it was asked to, though its base or its data have changed."""
        if self.record is None:
            return
        try:
            self.continue_run(self.record, self._changes_asked_for, consent=True)
        except StudioError as error:
            self.message.emit(str(error))

    def attach_run(self, folder: RunFolder) -> None:
        """Follow and show a run that another process trains. Raises `StudioError` when there is no such process."""
        self.controller.attach(folder)
        self._show_new(folder)

    def enqueue(self, config: RunConfig) -> None:
        """Let a configuration be trained after the runs before it. Raises `RunFolderError` where it cannot be kept."""
        self.queue.add(config, self.runs_root, self.settings.where)
        self.queue_changed.emit()

    def start_queued(self) -> None:
        """Start the run that is next in the queue, if one waits, its turn has come, and the queue is not held."""
        if self.queue.held or self.controller.running or self.ending:
            return
        before, last = self.queue.runs, self.live
        started = self.queue.start_next(self.controller)
        if self.queue.runs != before:
            self.queue_changed.emit()
        words = tr("{run} in the queue could not start and was passed over: {problem}")
        passed = [run for run in self.queue.runs if run.problem and run not in before]
        said = [words.format(run=run.title, problem=run.problem) for run in passed]
        if started is not None:
            self._show_new(self.controller.folder)
            if last is not None and last.folder and last.state.status in ("failed", "interrupted"):
                words = tr("{run} failed, and the queue goes on with {next}. {reason}")
                name, reason = last.folder.name, last.state.sentence
                said.append(words.format(run=name, next=started.title, reason=reason))
        if said:
            self.message.emit(sentences(said))

    def toggle_pause(self) -> None:
        """Have the run wait, or go on."""
        self._ask(self.controller.resume if self.waits else self.controller.pause)

    def save_checkpoint(self) -> None:
        """Ask the run for a checkpoint; how that went is told."""
        self.saving_checkpoint = self._ask(self.controller.checkpoint_now)
        self._announce_status()

    def stop(self) -> bool:
        """Ask the run to save what it has learnt, and to end; return whether it could be reached."""
        return self._ask(self.controller.stop)

    def _ask(self, verb: Callable[[], None]) -> bool:
        """Ask something of the run; return whether it could be reached, and say why not."""
        try:
            verb()
        except StudioError as error:
            self.message.emit(str(error))
            return False
        self._announce_status()
        return True

    def choose_runs_root(self, folder: Path) -> None:
        """Keep new runs in another folder, and tell the pages as if another run were shown."""
        self.settings.runs_root = folder
        self.record_changed.emit()

    def open_run(self, folder: RunFolder) -> None:
        """Show a run, live or from its folder, on every page. Raises `StudioError` for a damaged folder."""
        from studio.runner.record import RunRecord

        is_live = self.live is not None and self.live.folder == folder
        self.show_record(self.live if is_live else RunRecord.of_folder(folder))

    def show_record(self, record: RunRecord | None) -> None:
        """Show a record on every page, or none. One that was read in a task is shown as it is, but where its run is
        trained elsewhere that is watched, from the first event on.
        """
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        if record is not None and record.grows and record.folder is not None:
            from studio.runner.watch import Watch

            self._watch = Watch(record.folder)
            record = self._watch.record
            self._timer.start()
        self.record = record
        self.record_changed.emit()
        self._refresh_page()

    def go_to(self, page_name: str) -> None:
        """Show the page called setup, train, numerics, chat, export or runs."""
        self.page_requested.emit(page_name)

    def apply_remedy(self, name: str) -> None:
        """Let the run that trains go on with a remedy; for one that has ended, offer the settings on the Setup page."""
        if self.shows_training:
            self.controller.apply_remedy(name)
            self.message.emit(tr("The run goes on with: {remedy}").format(remedy=tr(remedy_words(name)[0])))
        elif useless := ended_words(name):
            self.message.emit(useless)
        elif self.record is not None:
            self.remedy_requested.emit(name)

    def show_page(self, page: Page) -> None:
        """Make `page` the visible one, and bring it up to date."""
        self._page = page
        self._refresh_page()

    def start_task(self, name: str, action: Action) -> Task:
        """Start an action in a thread that closing the window ends; a page uses `studio.ui.job.Job`."""
        task = Task(name, action)
        self._tasks = [*(other for other in self._tasks if not other.done), task]
        self._timer.start()
        return task

    def tick(self) -> None:
        """Take in what the workers have sent since the last time; the timer calls this."""
        if not self.busy and (self._watch is None or not self._watch.running):
            # This tick still reads what the workers sent before they ended. New work starts the timer again.
            self._timer.stop()
        self._drain()
        self._look()
        self.polled.emit()
        self._announce_status()
        self.start_queued()
        self._refresh_page()

    def cancel_all(self, *, save: bool = True) -> None:
        """Ask every worker to end for good, the training with its result saved or not; none is killed.

        A run in its own process goes on without this window.
        """
        self.ending = True
        if self.survives_closing:
            self.controller.detach()
        elif self.controller.running:  # or one that was let go would be stopped after all
            self.controller.stop(save=save)
        if self._watch is not None:
            self._watch.end()
        for task in self._tasks:
            task.cancel()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for every worker, at most `timeout` seconds each; return whether none lives."""
        ended = [task.join(timeout) for task in self._tasks]
        watched = self._watch is None or self._watch.join(timeout)
        return self.controller.join(timeout) and watched and all(ended)

    def _drain(self) -> None:
        updates = self.controller.poll()
        if self.live is None or not updates:
            return
        for update in updates:
            self.live.apply(update)
            self._tell(update)
        self.progressed.emit()

    def _look(self) -> None:
        """Take in what has come of a run that is only watched."""
        if self._watch is None:
            return
        if any(isinstance(update, RunResumed) and update.restarted for update in self._watch.poll()):
            self.record_changed.emit()  # steps were taken back: the plots begin anew

    def _tell(self, update: Update) -> None:
        """Say what the user waits to hear."""
        match update:
            case RunResumed():
                self._say_how_it_goes_on(update)
                if update.restarted and self.record is self.live:
                    self.record_changed.emit()  # steps were taken back: the plots begin anew
            case CheckpointSaved() if self.saving_checkpoint:
                self.saving_checkpoint = False
            case CheckpointFailed():
                self.saving_checkpoint = False
                words = tr("The checkpoint after step {step} could not be saved, and the run goes on: {reason}")
                self.message.emit(words.format(step=f"{update.step:,}", reason=update.reason))
            case RunFinished() | RunFailed() | RunInterrupted():
                self.saving_checkpoint = False

    def _say_how_it_goes_on(self, resumed: RunResumed) -> None:
        """Say what came of a remedy, where that is not what its name says already."""
        back = resumed.changes.get("back to update")
        if resumed.restarted and (resumed.changes or resumed.skipped):
            self.message.emit(resumed_text(resumed.step, resumed.update, resumed.changes, resumed.skipped))
        elif resumed.refused:
            self.message.emit(refusal_text(resumed.refused))
        elif back is not None:
            self.message.emit(tr("The run went back to update {update}, and goes on.").format(update=back))

    def _show_new(self, folder: RunFolder | None) -> None:
        from studio.runner.record import RunRecord

        self._show_live(RunRecord(folder))

    def _show_live(self, record: RunRecord) -> None:
        self.live, self.saving_checkpoint = record, False
        self._timer.start()
        self.show_record(record)
        self._announce_status()

    def _announce_status(self) -> None:
        if self.live is None:
            return
        controller = self.controller
        asked = (controller.pausing, controller.paused, controller.resuming, controller.stopping)
        status = (self.live.state.status, controller.running, *asked, self.saving_checkpoint)
        if status != self._status:
            self._status = status
            self.run_state_changed.emit()

    def _refresh_page(self) -> None:
        if self._page is None or self.record is None:
            return
        version = (id(self.record), self.record.version)
        if self._seen.get(id(self._page)) != version:
            self._seen[id(self._page)] = version
            self._page.refresh()
