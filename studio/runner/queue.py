"""The queue: configurations that are run one after another. It lies in the app's home, and survives a restart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.config import RunConfig
from studio.runner.controller import Controller, Where


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

    @property
    def runs(self) -> tuple[QueuedRun, ...]:
        """All that waits, the next one first, and all that was passed over."""
        raise NotImplementedError

    def add(self, config: RunConfig, root: Path, where: Where = "thread") -> QueuedRun:
        """Put a configuration at the end. Raises `RunFolderError` where the queue cannot be written."""
        raise NotImplementedError

    def remove(self, key: str) -> None:
        """Take a run out."""
        raise NotImplementedError

    def move(self, key: str, place: int) -> None:
        """Bring a run to a place; 0 is the next one."""
        raise NotImplementedError

    def start_next(self, controller: Controller) -> QueuedRun | None:
        """Start the next run that can start, where none is under way and the queue is not held; return it.

        One that cannot start is passed over, and keeps the reason in `problem`.
        """
        raise NotImplementedError
