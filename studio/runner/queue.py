"""The queue: configurations that are run one after another. It lies in the app's home, and survives a restart."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from studio.config import RunConfig, parse_config, write_config
from studio.errors import RunFolderError, StudioError
from studio.files import read_bytes
from studio.i18n import tr
from studio.runner.controller import Controller, Where
from studio.runs import write_atomically
from studio.runs.lock import one_at_a_time

log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class QueuedRun:
    """One configuration that waits for its turn.

    Attributes:
        key: names it in this queue.
        title: model, method and precision, for people.
        config: the whole configuration, as TOML.
        root: the folder that its run folder will be made in.
        where: it will live.
        problem: why it could not start, and was passed over; empty while it waits.
    """

    key: str
    title: str
    config: str
    root: str
    where: Where
    problem: str = ""


class RunQueue:
    """The queue in one file. Every change is on the disk when the method returns.

    After a restart of the app it is held: it starts nothing until `held` is set to False.

    Attributes:
        held: nothing is started.
    """

    def __init__(self, path: Path) -> None:
        self.held = True
        self._path = path
        self._runs: tuple[QueuedRun, ...] = ()
        self._seen: tuple[int, int] | None = None

    @property
    def runs(self) -> tuple[QueuedRun, ...]:
        """All that waits, the next one first, and all that was passed over."""
        if (version := self._version()) != self._seen:  # also where another window changed it
            self._runs, self._seen = _read(self._path), version
        return self._runs

    def add(self, config: RunConfig, root: Path, where: Where = "thread") -> QueuedRun:
        """Put a configuration at the end. Raises `RunFolderError` where the queue cannot be written."""
        title = " · ".join((Path(config.model.path).name, config.method.name, config.precision.name))
        run = QueuedRun(key=uuid.uuid4().hex, title=title, config=write_config(config), root=str(root), where=where)
        with self._alone():
            self._keep((*self.runs, run))
        return run

    def remove(self, key: str) -> None:
        """Take a run out."""
        with self._alone():
            self._keep(tuple(run for run in self.runs if run.key != key))

    def move(self, key: str, place: int) -> None:
        """Bring a run to a place; 0 is the next one."""
        with self._alone():
            others = [run for run in self.runs if run.key != key]
            moved = [run for run in self.runs if run.key == key]
            self._keep((*others[:place], *moved, *others[place:]))

    def start_next(self, controller: Controller) -> QueuedRun | None:
        """Start the next run that can start, where none is under way and the queue is not held; return it.

        One that cannot start is passed over, and keeps the reason in `problem`.
        """
        if self.held or controller.running or all(run.problem for run in self.runs):
            return None
        with self._alone():  # no other window starts the same one
            for run in self.runs:
                if run.problem:
                    continue
                try:
                    controller.start(parse_config(tomllib.loads(run.config)), Path(run.root), run.where)
                except (StudioError, tomllib.TOMLDecodeError) as error:
                    passed = dataclasses.replace(run, problem=str(error))
                    self._keep(tuple(passed if other.key == run.key else other for other in self.runs))
                else:
                    self._keep(tuple(other for other in self.runs if other.key != run.key))
                    return run
        return None

    def _version(self) -> tuple[int, int] | None:
        """What tells one content of the file from another; None without a file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other windows from changing the queue. Raises `RunFolderError` where it cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(self._path.parent):
                yield
        except OSError as error:
            words = tr("The queue cannot be written to {path}: {reason}.")
            raise RunFolderError(words.format(path=self._path, reason=error.strerror)) from error

    def _keep(self, runs: tuple[QueuedRun, ...]) -> None:
        text = json.dumps([dataclasses.asdict(run) for run in runs], ensure_ascii=False, indent=2)
        write_atomically(self._path, text + "\n")
        self._runs, self._seen = runs, self._version()


def _read(path: Path) -> tuple[QueuedRun, ...]:
    """Return the runs of a file; what is damaged in it is left out, with a log line."""
    try:
        if not os.path.lexists(path):
            return ()
        values = json.loads(read_bytes(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("The queue %s cannot be read: %s", path, error)
        return ()
    known = {field.name for field in dataclasses.fields(QueuedRun)}
    found = []
    for value in values if isinstance(values, list) else ():
        texts = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        if texts and known - {"problem"} <= value.keys() <= known and value["where"] in get_args(Where):
            found.append(QueuedRun(**value))
        else:
            log.warning("The queue %s has an entry that is damaged", path)
    return tuple(found)
