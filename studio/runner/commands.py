"""What a run is told from another process: one JSON object a line, appended to a file in the run folder.

That needs no port and no library, and works the same on every system and on a shared disk. Commands are a fixed set of
verbs. Nothing that stands in the file is run or opened.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from studio.engine.control import Control
from studio.errors import RunFolderError
from studio.i18n import tr
from studio.runs import Holder, RunFolder, holder_of
from studio.runs.files import open_own
from studio.runs.tail import Tail

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
WATCHERS_SECONDS = 2.0  # between two looks at whether those who watch are still there


def clear_commands(folder: RunFolder) -> None:
    """Forget what was told to an earlier process of the run. Raises `RunFolderError`."""
    try:
        folder.commands.unlink(missing_ok=True)
    except OSError as error:
        words = tr("The run folder {path} cannot be written: {reason}.")
        raise RunFolderError(words.format(path=folder.path, reason=error.strerror)) from error


def own_file(path: Path, flags: int) -> BinaryIO:
    """Open a file of a run folder for writing, unbuffered, as `open_own` does."""
    return cast(BinaryIO, os.fdopen(open_own(path, os.O_WRONLY | flags), "wb", buffering=0))


class RemoteControl:
    """The requests of `studio.engine.control.Control` to a run in another process. Each reaches it in 100 ms or so.

    All methods raise `RunFolderError` where the run folder cannot be written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.stop_requested = False

    def stop(self, *, save: bool = True) -> None:
        """Ask the run to end, with its result saved or not."""
        self._send("stop", save=save)
        self.stop_requested = True

    def pause(self) -> None:
        """Ask the run to wait."""
        self._send("pause")

    def resume(self) -> None:
        """Let a waiting run go on."""
        self._send("resume")

    def request_remedy(self, name: str) -> None:
        """Ask the run to go on with a remedy."""
        self._send("remedy", name=name)

    def request_checkpoint(self) -> None:
        """Ask for a checkpoint after the present step."""
        self._send("checkpoint")

    def attend(self) -> None:
        """Say that a user is there who can answer the run, as long as this process lives."""
        self._send("attend", **dataclasses.asdict(holder_of(os.getpid())))

    def leave(self) -> None:
        """Say that the user of this process answers no longer."""
        self._send("leave", **dataclasses.asdict(holder_of(os.getpid())))

    def _send(self, verb: str, **values: Any) -> None:
        line = json.dumps({"do": verb, **values}) + "\n"
        try:
            # One write to a file opened for appending: the lines of two windows do not mix.
            with own_file(self._folder.commands, os.O_APPEND) as file:
                file.write(line.encode())
        except OSError as error:
            words = tr("The run in {path} cannot be told anything: {reason}.")
            raise RunFolderError(words.format(path=self._folder.path, reason=error.strerror)) from error


class Listener:
    """Passes the commands in a run folder on to the control of the run.

    While it listens, `control.attended` also says whether a process that attends is alive.
    """

    def __init__(self, folder: RunFolder, control: Control) -> None:
        self._control = control
        self._commands = Tail(folder.commands)
        self._attended = control.attended
        self._watchers: set[Holder] = set()
        self._watchers_seen = time.monotonic()

    def look(self) -> None:
        """Take in what has come since the last call."""
        try:
            lines = self._commands.lines()
        except OSError:
            log.exception("The commands to the run cannot be read")
            return
        for line in lines:
            try:
                self._obey(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
                log.warning("Not a command: %s", line[:200])
        if lines or time.monotonic() - self._watchers_seen > WATCHERS_SECONDS:
            self._watchers_seen = time.monotonic()
            self._watchers = {watcher for watcher in self._watchers if watcher.presence != "dead"}
            self._control.attended = self._attended or bool(self._watchers)

    def _obey(self, command: dict[str, Any]) -> None:
        control = self._control
        match command["do"]:
            case "stop":
                control.stop(save=command["save"] is not False)
            case "pause":
                control.pause()
            case "resume":
                control.resume()
            case "remedy":
                control.request_remedy(str(command["name"])[:100])
            case "checkpoint":
                control.request_checkpoint()
            case "attend" | "leave":
                watcher = Holder(int(command["process"]), str(command["started"]), str(command["host"]))
                (self._watchers.add if command["do"] == "attend" else self._watchers.discard)(watcher)
            case _:
                raise ValueError


@contextmanager
def listening(folder: RunFolder, control: Control) -> Iterator[None]:
    """Pass commands on to `control`, from a thread of its own, until the block ends."""
    listener, ended = Listener(folder, control), threading.Event()

    def listen() -> None:
        while not ended.wait(LOOK_SECONDS):
            listener.look()

    thread = threading.Thread(target=listen, name="commands", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
