"""The only way into a long action that is under way: stop, pause, cancel. Without torch, without Qt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from studio.errors import Cancelled
from studio.i18n import tr

Progress: TypeAlias = Callable[[str, int, int], None]
"""`progress(stage, done, total)`: called often by long actions; raises `Cancelled` when the user cancelled.

Stages are: reading_model, checking_model, loading_model, downloading, reading_data, comparing_rows, tokenising,
evaluating, training, saving, merging, writing, converting, verifying, trying, asking_hub, waiting, uploading. `total`
is 0 when it is not known; downloading, loading_model and converting are counted in bytes."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""


class Control:
    """Requests from the user to a running action; set from any thread, looked at by the worker.

    The training loop looks once per micro-batch, every other long action at each progress report.

    Attributes:
        attended: somebody watches who can answer: a run in trouble then waits instead of ending.
    """

    def __init__(self, *, attended: bool = False) -> None:
        self.attended = attended
        self._not_counted = 0.0
        self._remedy: str | None = None
        self._stop = threading.Event()
        self._discard = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._checkpoint = threading.Event()

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    @property
    def pause_requested(self) -> bool:
        return not self._running.is_set()

    @property
    def discard_requested(self) -> bool:
        """Whether the action is to end without saving."""
        return self._discard.is_set()

    def stop(self, *, save: bool = True) -> None:
        """Ask the action to end cleanly, saving what it has unless told otherwise."""
        if not save:
            self._discard.set()
        self._stop.set()
        self._running.set()

    def pause(self) -> None:
        """Ask the action to wait."""
        self._running.clear()

    def resume(self) -> None:
        """Let a waiting action go on."""
        self._running.set()

    def request_remedy(self, name: str) -> None:
        """Ask the run to go on with a remedy (a name of `studio.engine.numerics.remedies`)."""
        self._remedy = name
        self._running.set()

    def take_remedy(self) -> str | None:
        """Return the remedy that was asked for since the last call."""
        name, self._remedy = self._remedy, None
        return name

    def request_checkpoint(self) -> None:
        """Ask for a checkpoint after the present step."""
        self._checkpoint.set()

    def take_checkpoint_request(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
        asked = self._checkpoint.is_set()
        self._checkpoint.clear()
        return asked

    def agree(self) -> None:
        """Take in what was asked of other processes of the same run. Here there are none."""

    def wait_while_paused(self, seconds: float | None = None) -> None:
        """Block until the action may go on or is to stop, or for so many seconds."""
        self._running.wait(seconds)

    def wait_for_news(self, seconds: float) -> None:
        """Wait so long, or until the user asks for a stop; after that, until saving is given up as well."""
        (self._discard if self.stop_requested else self._stop).wait(seconds)

    def clock(self) -> float:
        """Return a number of seconds that grows as time passes, but not while the action waits for the user."""
        return time.monotonic() - self._not_counted

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Stop the clock for a block, which runs on the thread of the action."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._not_counted += time.monotonic() - began

    def reporting(self, report: Progress) -> Progress:
        """Return a progress function that also raises `Cancelled` once a stop was requested."""

        def progress(stage: str, done: int, total: int) -> None:
            if self.stop_requested:
                raise Cancelled(tr("Cancelled."))
            report(stage, done, total)

        return progress
