"""Start, pause, stop and poll one training at a time. The worker never calls back; callers poll for its events."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

from studio.config import RunConfig, read_config, write_config
from studio.engine.control import Control
from studio.errors import RunFolderError, TrainingError
from studio.events import RunFailed, RunFinished, RunPaused, RunResumed
from studio.i18n import language, tr
from studio.runner.commands import RemoteControl, clear_commands
from studio.runner.process import Follower, Job, start_process
from studio.runner.state import RunInterrupted, Update
from studio.runner.worker import resume_training, run_training
from studio.runs import RunFolder, create_run, release_lock, take_lock

log = logging.getLogger(__name__)

Where: TypeAlias = Literal["thread", "process", "gpus"]
Work: TypeAlias = Callable[[Control, Callable[[Update], None]], None]


class Controller:
    """Owns the current run. It lives in a thread of this process, in a process of its own, or in one for each GPU.

    The verbs are the same for both, and so are the updates. A process of its own goes on when this one ends
    (`detach`), and is found again by `attach`.

    Attributes:
        folder: of the current run, or of the last one.
        where: it lives; None before the first run.
    """

    def __init__(self, *, attended: bool = False) -> None:
        """`attended`: a user is there to answer, so that a run in trouble waits instead of ending."""
        self._attended = attended
        self.folder: RunFolder | None = None
        self.where: Where | None = None
        self._queue: SimpleQueue[Update] = SimpleQueue()
        self._control: Control | RemoteControl = Control()
        self._thread: threading.Thread | None = None
        self._follower: Follower | None = None
        self._waits = False
        self._asked: Literal["", "pause", "resume"] = ""

    @property
    def running(self) -> bool:
        """Whether a run is under way, wherever it lives."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def pausing(self) -> bool:
        """Whether the run was asked to wait and still works: on its micro-batch, or on giving the GPU back."""
        return self.running and self._asked == "pause" and not self._waits

    @property
    def paused(self) -> bool:
        """Whether the run waits. It follows the events that `poll` returned."""
        return self.running and self._waits

    @property
    def resuming(self) -> bool:
        """Whether the run was asked to go on and still waits: it takes the GPU again."""
        return self.paused and self._asked == "resume"

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self.running and self._control.stop_requested

    def start(self, config: RunConfig, root: Path, where: Where = "thread", *, launch: str = "") -> RunFolder:
        """Create the run folder below `root` and start training in the background.

        `launch` names the processes that train together (`studio.runner.launch`).

        Raises:
            TrainingError: a run is under way already.
            RunFolderError: the folder cannot be written.
        """
        self._check_free()
        label = f"{Path(config.model.path).name}-{config.method.name}-{config.precision.name}"
        folder = create_run(root, label, write_config(config), **({"launch": launch} if launch else {}))
        job = Job(folder=str(folder.path), language=language(), each_gpu=_on_each_gpu(config, where))
        self._begin(lambda control, put: run_training(config, folder, control, put), folder, where, job)
        return folder

    def resume_run(
        self,
        folder: RunFolder,
        changes: Sequence[str] = (),
        until: int | None = None,
        where: Where = "thread",
        *,
        consent: bool = False,
    ) -> None:
        """Go on with a run that has ended or was interrupted, from its newest valid checkpoint, in its own folder.

        Args:
            changes: settings to replace, as `section.key=value`.
            until: the step to end at.
            consent: go on though the files of the base or of the data have changed.

        Raises:
            TrainingError: a run is under way already.
            RunFolderError: another process trains this run, or the folder cannot be written.
        """
        self._check_free()
        take_lock(folder.path)
        job = Job(
            folder=str(folder.path),
            language=language(),
            each_gpu=_on_each_gpu(read_config(folder.config), where),
            resumes=True,
            changes=tuple(changes),
            until=until,
            consent=consent,
        )
        self._begin(
            lambda control, put: resume_training(folder, control, put, changes, until, consent), folder, where, job
        )

    def attach(self, folder: RunFolder) -> None:
        """Follow a run that another process trains: `poll` returns all its events from the first one on.

        Raises:
            TrainingError: a run is under way already, or no process of this computer trains this run.
        """
        self._check_free()
        if not folder.held:
            raise TrainingError(tr("No process trains {run} any more.").format(run=folder.name))
        self._follow(folder, None, from_start=True)

    def detach(self) -> None:
        """Let go of a run in a process of its own: it goes on, and nobody is there to answer its questions."""
        if self._follower is None or not self.running:
            return
        assert isinstance(self._control, RemoteControl)
        if self._attended:
            with contextlib.suppress(RunFolderError):  # then it finds out by itself that this process is gone
                self._control.leave()
        self._follower.let_go()

    def stop(self, *, save: bool = True) -> None:
        """Ask the run to finish its micro-batch, save the adapter unless told otherwise, and end."""
        self._control.stop(save=save)

    def pause(self) -> None:
        """Ask the run to wait after the present micro-batch. Meanwhile a GPU is free for other programs."""
        self._asked = "pause"
        self._control.pause()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._asked = "resume"
        self._control.resume()

    def checkpoint_now(self) -> None:
        """Ask for a checkpoint after the present step; `checkpoint_saved` follows."""
        self._control.request_checkpoint()

    def apply_remedy(self, name: str) -> None:
        """Let the run, paused or not, continue with a remedy that one of its verdicts offers."""
        self._asked = "resume"
        self._control.request_remedy(name)

    def poll(self) -> list[Update]:
        """Return the updates since the last call, in order, without waiting."""
        updates: list[Update] = []
        while True:
            try:
                updates.append(self._queue.get_nowait())
            except Empty:
                break
        for update in updates:
            self._note(update)
        return updates

    def join(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds; return whether the worker has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running

    def _check_free(self) -> None:
        if self.running:
            raise TrainingError(tr("A run is under way; stop it before starting another."))

    def _begin(self, work: Work, folder: RunFolder, where: Where, job: Job) -> None:
        """Train in a folder whose lock this process holds."""
        clear_commands(folder)
        if where != "thread":
            self._begin_process(folder, job)
            return
        control = Control(attended=self._attended)
        self._take_over(folder, where, control)
        self._thread = threading.Thread(target=work, args=(control, self._queue.put), name="training", daemon=False)
        self._thread.start()

    def _begin_process(self, folder: RunFolder, job: Job) -> None:
        """Start the process of a run whose lock this process holds, and follow it."""
        try:
            process = start_process(job)
        except TrainingError as error:
            folder.write_state("failed", error=str(error))
            release_lock(folder.path)
            raise
        self._follow(folder, process, restarts=job.each_gpu)

    def _follow(
        self,
        folder: RunFolder,
        process: subprocess.Popen[bytes] | None,
        *,
        from_start: bool = False,
        restarts: bool = False,
    ) -> None:
        control = RemoteControl(folder)
        self._take_over(folder, "process", control)
        self._follower = Follower(folder, self._queue, process, from_start=from_start, restarts=restarts)
        self._thread = self._follower.thread
        if self._attended:
            try:
                control.attend()
            except RunFolderError as error:  # a run on a disk that can only be read is watched all the same
                log.warning("%s", error)
        self._thread.start()

    def _take_over(self, folder: RunFolder, where: Where, control: Control | RemoteControl) -> None:
        """Make a run the current one, before its first update comes."""
        self.folder, self.where, self._control = folder, where, control
        self._queue, self._follower = SimpleQueue(), None
        self._waits, self._asked = False, ""

    def _note(self, update: Update) -> None:
        match update:
            case RunPaused():
                self._waits = True
                if self._asked == "resume":
                    self._asked = ""  # it could not go on, and says why
            case RunResumed() | RunFinished() | RunFailed() | RunInterrupted():
                self._waits, self._asked = False, ""


def _on_each_gpu(config: RunConfig, where: Where) -> bool:
    """Return whether a process trains on each GPU: a configuration may name the one device that it is for."""
    return where == "gpus" and config.training.device in ("auto", "cuda")
