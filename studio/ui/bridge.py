"""What connects the window with its background work: a timer polls the workers, which never call the window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.config import RunConfig
from studio.events import RunResumed
from studio.i18n import tr
from studio.runner.controller import Controller
from studio.runner.numerics import ended_words, remedy_words
from studio.runner.record import RunRecord
from studio.runner.task import Action, Task
from studio.runs import RunFolder
from studio.text.words import refusal_text
from studio.ui.page import Page
from studio.ui.settings import Settings

POLL_MILLISECONDS = 33


class AppContext(QObject):
    """What every page gets: the controller, the run that is shown, and the tasks under way.

    `live` is the run that trains now or trained last in this window; `record` is the run that the pages show.
    `record_changed` says that another run is shown, `run_state_changed` that training began, ended, paused or went
    on, `progressed` that the live run's record has grown (at most once a tick), `configuration_requested` that the
    Setup page is to show the config.toml at a path, `remedy_requested` that the
    user chose a remedy for the shown run, which has ended, `polled` that it is time to look at background work.
    """

    record_changed = Signal()
    run_state_changed = Signal()
    progressed = Signal()
    page_requested = Signal(str)
    configuration_requested = Signal(object)
    remedy_requested = Signal(str)
    message = Signal(str)
    polled = Signal()

    def __init__(self, settings: Settings, controller: Controller | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.settings = settings
        self.controller = controller or Controller(attended=True)
        self.record: RunRecord | None = None
        self.live: RunRecord | None = None
        self.ending = False
        self._page: Page | None = None
        self._seen: dict[int, tuple[int, int]] = {}
        self._tasks: list[Task] = []
        self._status: tuple[str, bool, bool] | None = None
        self._timer = QTimer(self, interval=POLL_MILLISECONDS)
        self._timer.timeout.connect(self.tick)

    @property
    def runs_root(self) -> Path:
        """The folder that new runs are written to and that the Runs page lists."""
        return self.settings.runs_root

    @property
    def busy(self) -> bool:
        """Whether any background thread of ours lives."""
        return self.controller.running or any(not task.done for task in self._tasks)

    @property
    def shows_training(self) -> bool:
        """Whether the run that the pages show is under way: it trains, or waits to go on."""
        shown = self.record
        return shown is not None and shown is self.live and self.controller.running and not shown.state.ended

    def start_run(self, config: RunConfig) -> None:
        """Start training and show it. Raises `StudioError` when it cannot start."""
        folder = self.controller.start(config, self.runs_root)
        self.live = RunRecord(folder)
        self._timer.start()
        self.show_record(self.live)
        self._announce_status()

    def toggle_pause(self) -> None:
        """Have the run wait, or go on."""
        if self.controller.paused or self.controller.pausing:
            self.controller.resume()
        else:
            self.controller.pause()
        self._announce_status()

    def choose_runs_root(self, folder: Path) -> None:
        """Keep new runs in another folder, and tell the pages as if another run were shown."""
        self.settings.runs_root = folder
        self.record_changed.emit()

    def open_run(self, folder: RunFolder) -> None:
        """Show a run, live or from its folder, on every page. Raises `StudioError` for a damaged folder."""
        is_live = self.live is not None and self.live.folder == folder
        self.show_record(self.live if is_live else RunRecord.of_folder(folder))

    def show_record(self, record: RunRecord | None) -> None:
        """Show a record on every page, or none; one that was read in a task is shown without reading it again."""
        self.record = record
        self.record_changed.emit()
        self._refresh_page()

    def go_to(self, page_name: str) -> None:
        """Show the page called setup, train, numerics, export or runs."""
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
        if not self.busy:
            # This tick still reads what the workers sent before they ended. New work starts the timer again.
            self._timer.stop()
        self._drain()
        self.polled.emit()
        self._announce_status()
        self._refresh_page()

    def cancel_all(self, *, save: bool = True) -> None:
        """Ask every worker to end for good, the training with its result saved or not; none is killed."""
        self.ending = True
        self.controller.stop(save=save)
        for task in self._tasks:
            task.cancel()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for every worker, at most `timeout` seconds each; return whether none lives."""
        ended = [task.join(timeout) for task in self._tasks]
        return self.controller.join(timeout) and all(ended)

    def _drain(self) -> None:
        updates = self.controller.poll()
        if self.live is None or not updates:
            return
        for update in updates:
            self.live.apply(update)
            if isinstance(update, RunResumed):
                self._say_how_it_goes_on(update)
        self.progressed.emit()

    def _say_how_it_goes_on(self, resumed: RunResumed) -> None:
        """Say what came of a remedy, where that is not what its name says already."""
        back = resumed.changes.get("back to update")
        if resumed.refused:
            self.message.emit(refusal_text(resumed.refused))
        elif back is not None:
            self.message.emit(tr("The run went back to update {update}, and goes on.").format(update=back))

    def _announce_status(self) -> None:
        if self.live is None:
            return
        status = (self.live.state.status, self.controller.running, self.controller.paused)
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
