"""A long action other than training, in a background thread: progress, Cancel, and its result or error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from studio.engine.control import Control, Progress
from studio.errors import Cancelled, StudioError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Task(Generic[T]):
    """One action under way. Poll it from the window's timer; nothing is ever called back from the worker."""

    def __init__(self, name: str, action: Callable[[Progress], T]) -> None:
        self.name = name
        self.progress: tuple[str, int, int] | None = None
        self._action = action
        self._control = Control()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"task-{name}", daemon=False)

    @classmethod
    def start(cls, name: str, action: Callable[[Progress], T]) -> Task[T]:
        """Start `action(progress)` in a thread of its own."""
        task = cls(name, action)
        task._thread.start()
        return task

    @property
    def done(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        return isinstance(self._error, Cancelled)

    @property
    def cancel_requested(self) -> bool:
        """Whether the action was asked to end; it may still be at work."""
        return self._control.stop_requested

    def cancel(self) -> None:
        """Ask the action to end at its next progress report."""
        self._control.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds; return whether the action has ended."""
        self._thread.join(timeout)
        return self.done

    def result(self) -> T:
        """Return what the action returned, or raise what it raised. Call it once the task is done."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _work(self) -> None:
        try:
            self._value = self._action(self._control.reporting(self._report))
        except StudioError as error:
            self._error = error
        except BaseException as error:
            log.exception("The action %s failed", self.name)
            self._error = error

    def _report(self, stage: str, done: int, total: int) -> None:
        self.progress = (stage, done, total)
