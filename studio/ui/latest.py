"""A question that is asked anew at every change: only the answer to the last one counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, QTimer

from studio.engine.control import Progress
from studio.runner.task import Task
from studio.ui.bridge import AppContext

T = TypeVar("T")
PAUSE_MILLISECONDS = 300


class Latest(QObject, Generic[T]):
    """Runs an action in the background, after a short pause in the changes and never two at a time.

    A newer question cancels the one under way, and the answer to an older question is dropped.
    """

    def __init__(
        self,
        owner: QObject,
        context: AppContext,
        name: str,
        on_done: Callable[[T], None],
        on_error: Callable[[str], None],
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        super().__init__(owner)
        self._context, self._name = context, name
        self._on_done, self._on_error, self._on_progress = on_done, on_error, on_progress
        self._wanted: Callable[[Progress], T] | None = None
        self._task: Task[T] | None = None
        self._expected = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._start)

    @property
    def pending(self) -> bool:
        """Whether an answer is still to come."""
        return self._wanted is not None or self._expected

    def ask(self, action: Callable[[Progress], T], pause: int | None = None) -> None:
        """Ask something else; the answer comes through the callbacks."""
        self.drop()
        self._wanted = action
        self._pause.start(PAUSE_MILLISECONDS if pause is None else pause)

    def drop(self) -> None:
        """No longer want an answer."""
        self._wanted = None
        self._expected = False
        self._pause.stop()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        if self._wanted is None or self._context.ending:
            return
        if self._task is not None and not self._task.done:
            self._pause.start(PAUSE_MILLISECONDS // 6)
            return
        wanted, self._wanted = self._wanted, None
        self._expected = True
        self._task = task = Task.start(self._name, wanted)
        self._context.run_task(
            task,
            lambda value: self._answer(task, self._on_done, value),
            lambda sentence: self._answer(task, self._on_error, sentence),
            lambda *progress: self._progress(task, *progress),
        )

    def _is_current(self, task: Task[T]) -> bool:
        return task is self._task and self._expected

    def _answer(self, task: Task[T], tell: Callable[[Any], None], value: Any) -> None:
        if self._is_current(task):
            self._expected = False
            tell(value)

    def _progress(self, task: Task[T], stage: str, done: int, total: int) -> None:
        if self._on_progress and self._is_current(task):
            self._on_progress(stage, done, total)
