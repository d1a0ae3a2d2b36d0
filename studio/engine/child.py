"""Work in a process of its own: it can be killed at any moment, and a crash ends nothing else.

The parent writes each job to the child's input, one line of JSON, and leaves that pipe open. The child writes one JSON
value a line to its output: `["progress", stage, done, total]` now and then, and at last `["result", value]`, or
`["refused", kind, sentence]` for a `StudioError`. What a library prints goes to the error output.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from typing import IO, Any, TypeAlias

import psutil

import studio
from studio import errors as studio_errors
from studio.engine.control import Progress, no_progress
from studio.errors import StudioError
from studio.i18n import language, set_language
from studio.logs import log_to_file

POLL_SECONDS = 0.1
Work: TypeAlias = Callable[[Any, Progress], Any]


class ChildFailed(Exception):
    """The process ended without a result; the message is the end of its error output.

    Attributes:
        code: its exit status, or minus the number of the signal that killed it.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run_in_child(work: Work, job: Any, progress: Progress = no_progress) -> Any:
    """Return `work(job, progress)`, computed in a process of its own. That process ends when this one does.

    Args:
        work: a function at the top of a module. What that module imports, the child imports.
        job: any JSON value; so is what `work` returns.
        progress: gets the last report of `work`, at least every `POLL_SECONDS`.

    Raises:
        StudioError: what `work` raised, or `Cancelled` by `progress`. The process is then killed.
        ChildFailed: it ended without a result.
    """
    with Child(work) as child:
        return child.ask(job, progress)


class Child:
    """A process that does one kind of work on one job after another. It ends when it is closed or this process ends.

    Args:
        work: a function at the top of a module.
    """

    def __init__(self, work: Work) -> None:
        argv, environment = command(work)
        self._errors = TemporaryFile()  # noqa: SIM115  `close` closes it
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._told: SimpleQueue[list[Any]] = SimpleQueue()
        self._reader = threading.Thread(target=_read, args=(self._process.stdout, self._told), daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self, job: Any, progress: Progress = no_progress, seconds: float = math.inf, memory: float = math.inf
    ) -> Any:
        """Return `work(job, progress)`. After any error but a `StudioError` of `work` the child must be closed.

        Args:
            job: any JSON value; so is what `work` returns.
            progress: gets the last report of `work`, at least every `POLL_SECONDS`.
            seconds: how long `work` may take after its first report. Imports come before it, and take as long as
                they do.
            memory: bytes that the process may take. They are looked at every `POLL_SECONDS`.

        Raises:
            StudioError: what `work` raised, or `Cancelled` by `progress`.
            TimeoutError: it took longer than `seconds`.
            MemoryError: it took more than `memory`.
            ChildFailed: the process ended without a result.
        """
        assert self._process.stdin is not None
        _send(self._process.stdin, {"language": language(), "job": job})
        kind, *values = self._follow(progress, seconds, memory)
        if kind == "ended":
            code = self._process.wait()
            self._errors.seek(0)
            raise ChildFailed(code, self._errors.read().decode(errors="replace")[-2000:].strip())
        if kind == "refused":
            raise getattr(studio_errors, values[0])(values[1])
        return values[0]

    def close(self) -> None:
        """End the process, whatever it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            file.close()

    def _follow(self, progress: Progress, seconds: float, memory: float) -> list[Any]:
        """Pass on the reports until another message comes, and return that."""
        report: tuple[str, int, int] = ("starting", 0, 0)
        end = math.inf
        while True:
            progress(*report)
            try:
                kind, *values = self._told.get(timeout=POLL_SECONDS)
            except Empty:
                kind = ""
                if memory < self._resident_bytes():
                    raise MemoryError from None
            if kind == "progress":
                report = (values[0], values[1], values[2])
                end = min(end, time.monotonic() + seconds)
            elif kind:
                return [kind, *values]
            if time.monotonic() > end:
                raise TimeoutError

    def _resident_bytes(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0  # it has ended, and the next message says so


def command(work: Work) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the child, and its environment."""
    return python_process("studio.engine.child", f"{work.__module__}:{work.__qualname__}")


def python_process(module: str, argument: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs one of our modules with this Python, and its environment.

    A frozen application must be started in another way: it knows no `-m`.
    """
    # The package is found by its own path, wherever the process is started.
    path = os.pathsep.join(filter(None, (str(Path(studio.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))))
    # -P: files of the current folder must not be taken for modules.
    return [sys.executable, "-P", "-m", module, argument], {**os.environ, "PYTHONPATH": path}


def main(name: str) -> None:
    """Be the child: do the work called `module:function`, one job after another."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed from here on cannot be taken for a message

    def tell(*values: Any) -> None:
        print(json.dumps(values), file=told, flush=True)

    jobs: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    log_to_file()
    module, _, function = name.partition(":")
    while True:
        given = json.loads(jobs.get())
        set_language(given["language"])
        try:
            work: Work = getattr(import_module(module), function)
            tell("result", work(given["job"], lambda *report: tell("progress", *report)))
        except StudioError as error:
            tell("refused", type(error).__name__, str(error))


def _read(pipe: IO[bytes], told: SimpleQueue[list[Any]]) -> None:
    for line in pipe:
        if line.endswith(b"\n"):  # a process that is killed may leave half a line
            told.put(json.loads(line))
    told.put(["ended"])


def _send(pipe: IO[bytes], value: Any) -> None:
    left = json.dumps(value).encode() + b"\n"
    try:
        # Past the buffer: what stayed in it after an error would fail once more when the pipe is closed.
        while left:
            left = left[os.write(pipe.fileno(), left) :]
    except OSError:
        return  # the process has ended already, and its exit status will say how


def _receive(jobs: SimpleQueue[bytes]) -> None:
    """Take in jobs, and end this process when the parent closes its end, which also happens when it is killed."""
    with os.fdopen(os.dup(0), "rb") as parent:  # not sys.stdin, which the main thread closes when it ends
        for line in parent:
            if line.endswith(b"\n"):
                jobs.put(line)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
