"""What the training thread runs: the engine's training, with its journal, its log and its final event."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from studio.config import RunConfig
from studio.engine.control import Control
from studio.errors import StudioError, is_out_of_memory
from studio.events import ProgressReported, RunEvent, RunFailed, StepCompleted
from studio.i18n import tr
from studio.runner.commands import listening
from studio.runner.record import LogLine, Update
from studio.runs import Journal, RunFolder, release_lock, take_lock

log = logging.getLogger(__name__)


def run_training(config: RunConfig, folder: RunFolder, control: Control, put: Callable[[Update], None]) -> None:
    """Train, and send every event to the journal and to `put`. The last one is `run_finished` or `run_failed`."""

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
    with _log_to(folder, put), _lock(folder), listening(folder, control), Journal(folder.journal) as journal:
        step = 0

        def emit(event: RunEvent | ProgressReported) -> None:
            nonlocal step
            if isinstance(event, StepCompleted):
                step = event.step
            if not isinstance(event, ProgressReported):
                journal.append(event)
            put(event)

        try:
            work(emit)
        except BaseException as error:
            sentence = _sentence(error)
            log.exception("The run failed")
            folder.write_state("failed", error=sentence)
            emit(RunFailed(step=step, sentence=sentence))


@contextmanager
def _lock(folder: RunFolder) -> Iterator[None]:
    """Hold the run's lock. Raises `RunFolderError` when another process trains the run."""
    take_lock(folder.path)
    try:
        yield
    finally:
        release_lock(folder.path)


def _sentence(error: BaseException) -> str:
    if isinstance(error, StudioError):
        return str(error)
    if is_out_of_memory(error):
        return tr(
            "The memory was not enough; shorten the longest row, store frozen weights in 16 bits, or take a "
            "smaller model."
        )
    return tr("An unexpected {kind} ended the run: {reason} The traceback is in the log.").format(
        kind=type(error).__name__, reason=str(error).split("\n")[0][:200].rstrip(".") + "."
    )


@contextmanager
def _log_to(folder: RunFolder, put: Callable[[Update], None]) -> Iterator[None]:
    """Send what this thread logs to run.log and to the log view."""
    thread = threading.get_ident()
    handlers = [logging.FileHandler(folder.log, encoding="utf-8", delay=True), _LineHandler(put)]
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


class _LineHandler(logging.Handler):
    """Passes each record to `put` as one line."""

    def __init__(self, put: Callable[[Update], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        self._put(LogLine(self.format(record)))
