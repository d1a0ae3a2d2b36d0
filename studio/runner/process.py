"""A run in a process of its own. It survives the window, and a crash of it ends nothing else.

The process writes the journal and the log of the run, as a thread would. Here `Follower` reads what is appended, and
passes it on as the same updates. Progress, which is not journalled, lies in a small file that is written over again.
Commands go the other way (`studio.runner.commands`).
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config import read_config
from studio.engine.child import python_process
from studio.engine.control import Control
from studio.errors import TrainingError
from studio.events import ProgressReported, RunFailed, RunFinished, from_json
from studio.files import open_regular, read_tail
from studio.i18n import set_language, tr
from studio.logs import log_to_file
from studio.runner.commands import own_file
from studio.runner.launch import Launch, train_beside
from studio.runner.signals import on_signals
from studio.runner.state import Cause, LogLine, RunInterrupted, Update
from studio.runner.worker import resume_training, run_training
from studio.runs import RunFolder, inherit_lock, release_lock
from studio.runs.tail import Tail

if TYPE_CHECKING:
    from queue import SimpleQueue

log = logging.getLogger(__name__)

PER_NODE = "gpu"  # processes that train together: for `torchrun`, as many as torch sees GPUs
RESTARTS = 3  # of all of them, where one dies
LOOK_SECONDS = 0.05
LIFE_SECONDS = 0.5  # between two looks at whether a process that this one did not start is alive
PROGRESS_SECONDS = 0.1
PROGRESS_BYTES = 256
FAILURE_BYTES = 4096
WAITING = 2000  # updates that nobody has taken yet; above, reading waits
OUTPUT_TAIL = 4000  # bytes of error output that are looked at
DETAIL_LINES = 12
JOIN_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the process is to do: begin the run in a folder, or go on with it. The other fields as in `resume`.

    `each_gpu`: `torchrun` starts one such process on each GPU, and starts all of them again where one dies.
    """

    folder: str
    language: str
    each_gpu: bool = False
    resumes: bool = False
    changes: tuple[str, ...] = ()
    until: int | None = None
    consent: bool = False


def start_process(job: Job) -> subprocess.Popen[bytes]:
    """Start the process of a run. It is in a session of its own, and goes on when this process ends.

    Raises:
        TrainingError: it cannot be started, or the run folder cannot be written.
    """
    argv, environment = python_process("studio.runner.process", json.dumps(dataclasses.asdict(job)))
    if job.each_gpu:
        together = ["--standalone", f"--nproc-per-node={PER_NODE}", f"--max-restarts={RESTARTS}", "--no-python"]
        argv = [sys.executable, "-P", "-m", "torch.distributed.run", *together, *argv]
    output = RunFolder(Path(job.folder)).output
    try:
        output.unlink(missing_ok=True)
        with own_file(output, os.O_EXCL) as errors:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
                | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
    except OSError as error:
        words = tr("The process of the run could not be started: {reason}.")
        raise TrainingError(words.format(reason=error.strerror)) from error


class Follower:
    """Reads what another process writes about its run, in a thread, until that process has ended.

    Args:
        queue: takes the updates, in order; the last one is an end of the run in any case.
        process: the process, where this one started it: only then its exit status can be known.
        restarts: this one started `torchrun`. The run may go on after it failed, because one of several processes
            died: its failure is told when they all have ended. So it is where the lock of the run names a `torchrun`.
        from_start: begin with the first event of the journal; otherwise with the next one.
        leaves_alone: the run is another's; nothing in its folder is changed.
    """

    def __init__(
        self,
        folder: RunFolder,
        queue: SimpleQueue[Update],
        process: subprocess.Popen[bytes] | None = None,
        *,
        from_start: bool,
        restarts: bool = False,
        leaves_alone: bool = False,
    ) -> None:
        self._restarts = restarts
        self._failed: RunFailed | None = None
        self._leaves_alone = leaves_alone
        self._folder = folder
        self._queue = queue
        self._process = process
        self._journal = Tail(folder.journal, at_end=not from_start)
        self._log = Tail(folder.log, at_end=not from_start)
        self._progress: tuple[str, int, int] | None = None
        self._progress_changed = 0
        self._ended = False
        self._kills_before = _memory_kills()
        self._life_seen = -LIFE_SECONDS
        self._alive = True
        self._let_go = threading.Event()
        self.thread = threading.Thread(target=self._follow, name="follower", daemon=False)

    def let_go(self, *, wait: bool = True) -> None:
        """Stop reading; the process goes on."""
        self._let_go.set()
        if wait:
            self.thread.join()
        if self._process is not None and self._process.returncode is None:
            self._process.returncode = 0  # or it would be taken for one that was forgotten, with a warning

    def _follow(self) -> None:
        while True:
            alive = self._is_alive()
            # What was written before it ended is read in any case.
            while not self._let_go.is_set() and self._read():
                while self._queue.qsize() > WAITING and not self._let_go.wait(LOOK_SECONDS):
                    pass
            if self._let_go.is_set():
                return
            if not alive:
                self._conclude()
                return
            self._read_progress()
            self._let_go.wait(LOOK_SECONDS)

    def _is_alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        now = time.monotonic()
        if now - self._life_seen >= LIFE_SECONDS:
            self._life_seen = now
            self._alive = self._folder.held
        return self._alive

    def _read(self) -> bool:
        """Pass on the next events and log lines; return whether there were any."""
        try:
            events, lines = self._journal.lines(), self._log.lines()
        except OSError:
            log.exception("The journal of %s cannot be read", self._folder.path)
            return False
        for line in events:
            try:
                event = from_json(line)
            except ValueError as error:
                log.warning("A line of %s is left out: %s", self._folder.journal, error)
                continue
            failed = event if isinstance(event, RunFailed) else None
            self._failed = failed if failed and (self._restarts or self._folder.comes_again) else None
            self._ended = isinstance(event, RunFinished | RunFailed) and not self._failed
            if not self._failed:
                self._queue.put(event)
        for line in lines:
            self._queue.put(LogLine(line))
        return bool(events or lines)

    def _read_progress(self) -> None:
        try:
            changed = self._folder.progress.stat().st_mtime_ns
            if changed == self._progress_changed:
                return
            self._progress_changed = changed
            stage, done, total = self._told()
            found = (str(stage), int(done), int(total))
        except (OSError, ValueError, TypeError, OverflowError):
            return  # there is none, or it is being written
        if found != self._progress:
            self._progress = found
            self._queue.put(ProgressReported(stage=found[0], done=found[1], total=found[2]))

    def _told(self) -> Any:
        """Return what stands in the file of progress. Raises `OSError`, and `ValueError` while it is being written."""
        with open_regular(self._folder.progress) as file:
            return json.loads(file.read(FAILURE_BYTES))

    def _failure(self) -> str:
        """Return why the run failed, where it could tell that here alone: its journal may have been closed to it."""
        try:
            told = self._told()
            return str(told["failed"]) if isinstance(told, dict) else ""
        except (OSError, ValueError, KeyError, RecursionError):
            return ""

    def _conclude(self) -> None:
        """See to it that the last update is an end of the run."""
        if not self._leaves_alone:
            release_lock(self._folder.path)  # where the process never came to take it over
        if self._ended:
            return
        code = None if self._process is None else self._process.returncode
        output = _output_tail(self._folder.output)
        if self._restarts:  # `torchrun` says how the process ended that was the first to die
            code = next((int(told) for told in reversed(_EXIT_STATUS.findall(output))), code)
            output = _TORCHRUN_REPORT.split(output)[0]
        if self._failed and code in (None, 0, 1):  # it could still say why
            self._queue.put(self._failed)
            return
        if sentence := self._failure():
            self._queue.put(RunFailed(step=0, sentence=sentence))
            return
        cause = likely_cause(code, output, memory_kills=_memory_kills() - self._kills_before)
        details = "\n".join(output.strip().splitlines()[-DETAIL_LINES:])
        self._queue.put(RunInterrupted(cause=cause, code=code, details=details))


def likely_cause(code: int | None, output: str, *, memory_kills: int = 0) -> Cause:
    """Say what most likely ended a process that left no end of its run.

    Args:
        code: its exit status, or minus the number of the signal that ended it; None where it is not known.
        output: the end of its error output.
        memory_kills: processes of this computer that the system ended for want of memory meanwhile.
    """
    if "CUDA error" in output or "CUDA driver" in output or "NVRM" in output:
        return "lost_gpu"
    if "MemoryError" in output or "out of memory" in output.lower():
        return "out_of_memory"
    if code in _CRASHES or "Fatal Python error" in output:
        return "crashed"
    if code == -_SIGKILL or code is None:
        if memory_kills > 0:
            return "out_of_memory"
        return "unknown" if code is None else "killed"
    if code < 0:
        return "killed"
    return "not_started" if code > 0 and "Traceback" in output else "unknown"


_EXIT_STATUS = re.compile(r"exitcode\s*: (-?\d+)")
_TORCHRUN_REPORT = re.compile(r"Traceback \(most recent call last\):(?:\n .*)*\n.*ChildFailedError")
_SIGKILL = 9
# Illegal instruction, abort, bus error, arithmetic, segmentation fault; on Windows: access violation, stack overflow,
# a corrupted heap, a buffer overrun.
_CRASHES = frozenset((-4, -6, -7, -8, -11, 0xC0000005, 0xC00000FD, 0xC0000374, 0xC0000409))


def _memory_kills() -> int:
    """Count the processes that Linux has ended for want of memory since it started; 0 elsewhere."""
    try:
        with Path("/proc/vmstat").open(encoding="ascii") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def _output_tail(path: Path) -> str:
    try:
        return read_tail(path, OUTPUT_TAIL).decode(errors="replace")
    except OSError:
        return ""


class ProgressFile:
    """Shows other processes the progress of a run, and why it failed; everything else they read from the journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stage = ""
        self._written = 0.0
        self.failed = False
        path.unlink(missing_ok=True)
        self._file = own_file(path, os.O_EXCL)
        self._write("[]", FAILURE_BYTES)  # a full disk leaves room to say what went wrong

    def put(self, update: Update) -> None:
        """Take an update of the run."""
        if isinstance(update, RunFailed):
            self.failed = True
            # Characters beyond ASCII take twelve bytes at most.
            self._write(json.dumps({"failed": update.sentence[: FAILURE_BYTES // 12 - 10]}), FAILURE_BYTES)
        elif isinstance(update, ProgressReported):
            now = time.monotonic()
            if update.stage == self._stage and now - self._written < PROGRESS_SECONDS and update.done != update.total:
                return
            self._stage, self._written = update.stage, now
            self._write(json.dumps([update.stage, update.done, update.total]), PROGRESS_BYTES)

    def _write(self, text: str, size: int) -> None:
        try:
            # One small write over the last one: no draft to be left behind, and next to no cost.
            self._file.seek(0)
            self._file.write(text.ljust(size).encode())
        except OSError as error:
            log.debug("Progress cannot be shown: %s", error)

    def close(self) -> None:
        """Remove the file, unless it says why the run failed."""
        self._file.close()
        if not self.failed:
            self._path.unlink(missing_ok=True)


def main(job: Job) -> int:
    """Be the process of a run, or one of several. It trains in a thread, so that signals find the main one idle.

    Returns:
        The exit status, 1 where the run failed. `torchrun` then ends the other processes, which may wait for this one.
    """
    faulthandler.enable()
    set_language(job.language)
    log_to_file()
    folder, control, launch = RunFolder(Path(job.folder)), Control(), Launch.of()
    if launch and launch.ended(folder):
        return 1
    if launch and launch.rank:
        return train_beside(read_config(folder.config))
    resumes = job.resumes or bool(launch and launch.restarts)
    inherit_lock(folder.path)
    progress = ProgressFile(folder.progress)

    def work() -> None:
        if resumes:
            resume_training(folder, control, progress.put, job.changes, job.until, job.consent)
        else:
            run_training(read_config(folder.config), folder, control, progress.put)

    thread = threading.Thread(target=work, name="training")
    with on_signals(lambda signal: control.stop(), control.request_checkpoint):
        thread.start()
        while thread.is_alive():
            thread.join(JOIN_SECONDS)  # Windows sees no signal while it waits
    progress.close()
    return int(progress.failed)


if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    sys.exit(main(Job(**{**values, "changes": tuple(values["changes"])})))
