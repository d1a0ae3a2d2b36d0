"""What the training thread runs: the engine's training, with its journal, its log and its final event."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from typing_extensions import override

from studio.config import RunConfig
from studio.engine.control import Control
from studio.engine.disk import is_disk_full, with_room
from studio.errors import ConsentNeeded, NotReached, NotResumed, RunFolderError, StudioError, is_out_of_memory
from studio.events import (
    CheckpointSaved,
    MetersSampled,
    ProgressReported,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
)
from studio.i18n import tr
from studio.runner.commands import listening
from studio.runner.meters.sampler import Sampler
from studio.runner.state import LogLine, Update
from studio.runs import Journal, RunFolder, may_come_again, release_lock, remove_litter, take_lock
from studio.runs.files import open_own

log = logging.getLogger(__name__)


def run_training(config: RunConfig, folder: RunFolder, control: Control, put: Callable[[Update], None]) -> None:
    """Train, and send every event to `put` and to the journal. The last one is `run_finished` or `run_failed`."""

    def work(emit: Callable[[RunEvent | ProgressReported], None]) -> None:
        # Imported here: the window must be able to open without torch.
        from studio.engine.training.run import train

        train(config, folder, control, emit)

    _work(folder, control, put, work)


def resume_training(
    folder: RunFolder,
    control: Control,
    put: Callable[[Update], None],
    changes: Sequence[str] = (),
    until: int | None = None,
    consent: bool = False,
) -> None:
    """Go on with a run from its newest valid checkpoint, as `studio.engine.training.run.resume`; events as above."""

    def work(emit: Callable[[RunEvent | ProgressReported], None]) -> None:
        from studio.engine.training.run import resume

        resume(folder, control, emit, changes=changes, until=until, consent=consent)

    _work(folder, control, put, work)


def _work(
    folder: RunFolder,
    control: Control,
    put: Callable[[Update], None],
    work: Callable[[Callable[[RunEvent | ProgressReported], None]], None],
) -> None:
    """Hold the run while `work` trains it, and tell how it ended, whatever else fails."""
    reporter = _Reporter(folder, control, put)
    with _log_to(folder, put):
        try:
            reporter.open()
            with listening(folder, control):
                work(reporter.emit)
            reporter.check_ended()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the watcher hears of it first
            reporter.fail(error)
        finally:
            reporter.close()
            _release_memory()


def _release_memory() -> None:
    """Give back what training held: the window stays open, and an export or another program may need it."""
    from studio.engine.device import release_memory, resolve_device

    release_memory(resolve_device("auto"))


class _Reporter:
    """Sends the events of a run to its watcher and to its journal.

    The watcher hears of every event first, because a disk that fails must not keep it from them. Only success is
    told after it was written. What the journal cannot take at the moment follows later; on a full disk the run waits.
    """

    def __init__(self, folder: RunFolder, control: Control, put: Callable[[Update], None]) -> None:
        self._ended = self._may_come_again = False
        self._folder = folder
        self._control = control
        self._put = put
        self._held = False
        self._begun = False
        self._journal: Journal | None = None
        self._step = 0
        self._goes_on = False
        self._device = ""
        self._meters = Sampler()

    def open(self) -> None:
        """Take the run's lock and open its journal. Raises `RunFolderError`, `OSError`."""
        take_lock(self._folder.path)
        self._held = True
        self._begun = self._folder.read_state()["status"] == "created"
        self._goes_on = not self._begun
        self._journal = Journal(self._folder.journal)

    def emit(self, event: RunEvent | ProgressReported) -> None:
        """Tell an event.

        Raises:
            RunFolderError: the run folder is gone.
            OSError: the end of a run that finished cannot be written.
        """
        if isinstance(event, StepCompleted):
            self._step = event.step
        self._tell_meters(event)
        if isinstance(event, ProgressReported):
            self._put(event)
            return
        self._begun = True
        if isinstance(event, RunStarted):  # by now it is known which half of a checkpoint was passed over
            remove_litter(self._folder.path.parent, own=self._folder.path)
            self._device = event.device
            if not self._goes_on:  # else the step is not known before the run goes on
                self._meters.start(event.device)
        if isinstance(event, RunFinished):
            self._write(event)
            self._put(event)
        else:
            self._put(event)
            self._write(event)
        self._ended |= isinstance(event, RunFinished | RunFailed)

    def _tell_meters(self, event: RunEvent | ProgressReported) -> None:
        """Tell what was sampled since the last event; what was sampled in a pause is left out."""
        if isinstance(event, RunResumed):
            self._step = event.step
            self._meters.go_back(event.step)
            self._meters.start(self._device)
        for sample in self._meters.take(self._step):
            self._put(sample)
            self._write(sample)

    def check_ended(self) -> None:
        """Raise `RuntimeError` where nobody was told how the run ended."""
        if not self._ended:
            raise RuntimeError("training ended without telling how")

    def fail(self, error: BaseException) -> None:
        """Tell that the run failed: first its watcher, then, each for itself, the log, the journal and state.json."""
        asks = isinstance(error.__cause__, ConsentNeeded)
        event = RunFailed(step=self._step, sentence=_sentence(error), needs_consent=asks)
        self._put(event)
        self._ended = True
        self._may_come_again = may_come_again() and not _is_refusal(error)
        if isinstance(error, NotResumed) and _is_refusal(error):
            log.info("The run does not go on: %s", event.sentence)
        else:
            log.error("The run failed", exc_info=error)
        if not self._begun or isinstance(error, NotResumed):
            return  # another process trains this run, or it ended before and could not be continued: it is as it was
        with _kept_going():
            self._folder.write_state("failed", error=event.sentence)
        if self._journal:
            with _kept_going():
                self._journal.append(event)

    def close(self) -> None:
        """End the meters, close the journal, and give up the lock, unless `torchrun` starts again what failed: all but
        what was refused, which would be refused again.
        """
        self._meters.close()
        if self._journal:
            with _kept_going():
                self._journal.sync()
            with _kept_going():
                self._journal.close()
        if self._held and not self._may_come_again:
            with _kept_going():
                release_lock(self._folder.path)

    def _write(self, event: RunEvent) -> None:
        journal = self._journal
        if journal is None:
            return
        try:
            journal.append(event)
            if isinstance(event, CheckpointSaved):
                journal.sync()  # the checkpoint counts on what the journal says before it
            return
        except FileNotFoundError as error:
            raise RunFolderError(
                tr("The run folder {path} was deleted or moved while the run was under way.").format(
                    path=self._folder.path
                )
            ) from error
        except OSError as error:
            log.warning("The journal cannot be written now: %s", error)
            wait = is_disk_full(error) and not isinstance(event, MetersSampled | RunPaused | RunResumed | RunFailed)
        try:
            if wait:
                with_room(journal.flush, self._control, self.emit, self._step, until_stop=True)
            elif isinstance(event, RunFinished):
                journal.flush()
        except OSError:
            if isinstance(event, RunFinished):
                raise


@contextmanager
def _kept_going() -> Iterator[None]:
    """Let one write of several fail: the next ones are still tried."""
    try:
        yield
    except (OSError, RunFolderError) as error:
        log.warning("%s", error)


def _is_refusal(error: BaseException) -> bool:
    """Whether the same would be refused again, if `torchrun` started all processes again."""
    reason = error.__cause__ if isinstance(error, NotResumed) else error
    return isinstance(reason, StudioError) and not isinstance(reason, NotReached)


def _sentence(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(error, NotResumed) and cause and not isinstance(cause, StudioError):
        return _sentence(cause)
    if isinstance(error, StudioError):
        return str(error)
    if is_out_of_memory(error):
        return tr(
            "The memory was not enough; shorten the longest row, store frozen weights in 16 bits, or take a "
            "smaller model."
        )
    if is_disk_full(error):
        return tr("The disk is full; free some room, and continue the run.")
    if isinstance(error, OSError) and error.filename is not None:
        return tr("{path} cannot be read or written: {reason}.").format(path=error.filename, reason=error.strerror)
    return tr("An unexpected {kind} ended the run: {reason} The traceback is in the log.").format(
        kind=type(error).__name__, reason=str(error).split("\n")[0][:200].rstrip(".") + "."
    )


@contextmanager
def _log_to(folder: RunFolder, put: Callable[[Update], None]) -> Iterator[None]:
    """Send what this thread logs to run.log and to the log view."""
    thread = threading.get_ident()
    handlers = [_FileHandler(folder.log, encoding="utf-8", delay=True), _LineHandler(put)]
    root = logging.getLogger("studio")
    for handler in handlers:
        handler.addFilter(lambda record: record.thread == thread)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    if root.level == logging.NOTSET:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _FileHandler(logging.FileHandler):
    """Writes run.log. A disk that cannot take a line does not end the run: the log view has the same lines."""

    @override
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_own)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file cannot be opened
            self.handleError(record)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        pass

    @override
    def close(self) -> None:
        with contextlib.suppress(OSError):  # of a line that still waited in memory
            super().close()


class _LineHandler(logging.Handler):
    """Passes each record to `put` as one line."""

    def __init__(self, put: Callable[[Update], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        self._put(LogLine(self.format(record)))
