"""Work in a process of its own: it can be killed at any moment, and a crash ends nothing else.

The parent writes the job to the child's input, one line of JSON, and leaves that pipe open. The child writes one JSON
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


def run_in_child(work: Work, job: Any, progress: Progress = no_progress, seconds: float = math.inf) -> Any:
    """Return `work(job, progress)`, computed in a process of its own. That process ends when this one does.

    Args:
        work: a function at the top of a module. What that module imports, the child imports.
        job: any JSON value; so is what `work` returns.
        progress: gets the last report of `work`, at least every `POLL_SECONDS`.
        seconds: how long `work` may take after its first report. Imports come before it, and take as long as they do.

    Raises:
        StudioError: what `work` raised, or `Cancelled` by `progress`. The process is then killed.
        TimeoutError: it took longer than `seconds`, and was killed.
        ChildFailed: it ended without a result.
    """
    # The package is found by its own path, wherever the child is started.
    path = os.pathsep.join(filter(None, (str(Path(studio.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))))
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            command(work),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        told: SimpleQueue[list[Any]] = SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, told), daemon=True)
        reader.start()
        try:
            _send(process.stdin, {"language": language(), "job": job})
            kind, *values = _follow(told, progress, seconds)
            if kind == "ended":
                code = process.wait()
                errors.seek(0)
                raise ChildFailed(code, errors.read().decode(errors="replace")[-2000:].strip())
        finally:
            process.kill()  # nothing is left to do after a result
            reader.join()
    if kind == "refused":
        raise getattr(studio_errors, values[0])(values[1])
    return values[0]


def command(work: Work) -> list[str]:
    """Return what starts the child. A frozen application must be started in another way: it knows no `-m`."""
    # -P: files of the current folder must not be taken for modules.
    return [sys.executable, "-P", "-m", "studio.engine.child", f"{work.__module__}:{work.__qualname__}"]


def main(name: str) -> None:
    """Be the child: do the work called `module:function`."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed from here on cannot be taken for a message

    def tell(*values: Any) -> None:
        print(json.dumps(values), file=told, flush=True)

    parent = sys.stdin.buffer
    given = json.loads(parent.readline())
    threading.Thread(target=_end_with, args=(parent.fileno(),), daemon=True).start()
    set_language(given["language"])
    log_to_file()
    module, _, function = name.partition(":")
    try:
        work: Work = getattr(import_module(module), function)
        tell("result", work(given["job"], lambda *report: tell("progress", *report)))
    except StudioError as error:
        tell("refused", type(error).__name__, str(error))


def _follow(told: SimpleQueue[list[Any]], progress: Progress, seconds: float) -> list[Any]:
    """Pass on the reports until another message comes, and return that."""
    report: tuple[str, int, int] = ("starting", 0, 0)
    end = math.inf
    while True:
        progress(*report)
        try:
            kind, *values = told.get(timeout=POLL_SECONDS)
        except Empty:
            kind = ""
        if kind == "progress":
            report = (values[0], values[1], values[2])
            end = min(end, time.monotonic() + seconds)
        elif kind:
            return [kind, *values]
        if time.monotonic() > end:
            raise TimeoutError


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


def _end_with(pipe: int) -> None:
    """End this process when the parent's end of a pipe is closed, which also happens when the parent is killed."""
    os.read(pipe, 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
