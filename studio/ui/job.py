"""Background work of the window: started from a page, and answered by a signal in the window's thread."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from studio.errors import Cancelled, StudioError
from studio.runner.task import Action, Task
from studio.ui.bridge import AppContext

PAUSE_MILLISECONDS = 300


class Job(QObject):
    """One kind of background work of a page. Each action that is started ends in exactly one signal.

    `finished` carries what the action returned, `failed` one sentence for the user; `cancelled` follows when a
    cancelled action has ended. `progressed` carries stage, done and total, until then or until Cancel.

    Only one action is at work at a time. A newer one cancels the one before, waits until that has ended, and takes its
    place: the older one then emits nothing. The same holds after `drop`, and once the owner is destroyed.
    """

    finished = Signal(object)
    failed = Signal(str)
    cancelled = Signal()
    progressed = Signal(str, object, object)  # an int of Qt has 32 bits: too few for the bytes of a download

    def __init__(self, owner: QObject, context: AppContext, name: str) -> None:
        """`name` says for people what the action does; a failure that nobody expected is told with it."""
        super().__init__(owner)
        self._context, self._name = context, name
        self._next: Action | None = None
        self._task: Task | None = None
        self._dropped = False
        self._reported: tuple[str, int, int] | None = None
        self._pause = QTimer(self, singleShot=True)
        self._pause.timeout.connect(self._begin)

    @property
    def running(self) -> bool:
        """Whether a signal that ends an action is still to come."""
        return self._next is not None or (self._task is not None and not self._dropped)

    def start(self, action: Action) -> None:
        """Start `action(progress)` as soon as the one before has ended."""
        self.drop()
        self._next = action
        self._begin()

    def start_soon(self, action: Action) -> None:
        """Start `action(progress)` unless another one is started within `PAUSE_MILLISECONDS`: the user still types."""
        self.drop()
        self._next = action
        self._pause.start(PAUSE_MILLISECONDS)

    def cancel(self) -> None:
        """Ask the action to end; `cancelled` follows, unless it came to another end first."""
        if self._next is not None:
            self.drop()
            self.cancelled.emit()
        elif self._task is not None:
            self._task.cancel()

    def drop(self) -> None:
        """Cancel the action and emit nothing more about it."""
        self._next = None
        self._pause.stop()
        if self._task is not None:
            self._dropped = True
            self._task.cancel()

    def _begin(self) -> None:
        if self._next is None or self._task is not None:
            return
        if self._context.ending:
            self.cancel()
            return
        self._task = self._context.start_task(self._name, self._next)
        self._next, self._dropped, self._reported = None, False, None
        self.destroyed.connect(self._task.cancel)
        # The worker never emits: a slot without a thread of its own, such as a lambda, would then run in the worker.
        self._context.polled.connect(self._poll)

    def _poll(self) -> None:
        task = self._task
        if task is None:
            return
        done = task.done  # asked before the last progress is read, so that its report comes before its end
        progress = task.progress
        if progress is not None and progress != self._reported and not task.cancel_requested:
            self._reported = progress
            self.progressed.emit(*progress)
        if not done:
            return
        self._task = None
        self.destroyed.disconnect(task.cancel)
        self._context.polled.disconnect(self._poll)
        if self._dropped:
            if not self._pause.isActive():
                self._begin()
            return
        try:
            value = task.result()
        except Cancelled:
            self.cancelled.emit()
        except StudioError as error:
            self.failed.emit(str(error))
        else:
            self.finished.emit(value)
