"""A long action other than training, in a background thread: progress, Cancel, and its result or error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from studio.engine.control import Control, Progress
from studio.errors import Cancelled, StudioError
from studio.i18n import tr

log = logging.getLogger(__name__)
Action: TypeAlias = Callable[[Progress], Any]


class Task:
    """One action, `action(progress)`, in a thread of its own, which starts at once. Poll it: it calls nobody.

    Attributes:
        name: what the action does, in words for the user.
        progress: the last report of the action: stage, done and total.
    """

    def __init__(self, name: str, action: Action) -> None:
        self.name = name
        self.progress: tuple[str, int, int] | None = None
        self._action = action
        self._control = Control()
        self._value: Any = None
        self._error: StudioError | None = None
        self._thread = threading.Thread(target=self._work, name=f"task-{name}", daemon=False)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

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

    def result(self) -> Any:
        """Return what the action returned. Call it once the task is done.

        Raises:
            Cancelled: the action ended because it was asked to.
            StudioError: the action failed. After an unexpected exception it is one sentence; the log has the traceback.
        """
        if self._error is not None:
            raise self._error
        return self._value

    def _work(self) -> None:
        try:
            self._value = self._action(self._control.reporting(self._report))
        except StudioError as error:
            self._error = error
        except BaseException as error:  # SystemExit too: without it, a failure would look like a result of None
            log.exception("The action %s failed", self.name)
            words = tr("{action} failed unexpectedly ({kind}); the log has the details.")
            self._error = StudioError(words.format(action=self.name, kind=type(error).__name__))

    def _report(self, stage: str, done: int, total: int) -> None:
        self.progress = (stage, done, total)
