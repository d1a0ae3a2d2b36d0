"""A run that another process or another computer trains, watched as it grows and otherwise left alone."""

from __future__ import annotations

from queue import Empty, SimpleQueue

from studio.runner.process import Follower
from studio.runner.record import RunRecord
from studio.runner.state import Update
from studio.runs import RunFolder


class Watch:
    """Fills a record with what stands in a run's journal, and with what comes.

    Attributes:
        record: the run, as far as it was read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.record = RunRecord(folder)
        self._queue: SimpleQueue[Update] = SimpleQueue()
        self._follower = Follower(folder, self._queue, from_start=True, leaves_alone=True)
        self._follower.thread.start()

    @property
    def running(self) -> bool:
        """Whether something can still come."""
        return self._follower.thread.is_alive() or not self._queue.empty()

    def poll(self) -> list[Update]:
        """Take in and return what has come since the last call, without waiting."""
        updates: list[Update] = []
        try:
            while True:
                updates.append(self._queue.get_nowait())
        except Empty:
            pass
        for update in updates:
            self.record.apply(update)
        return updates

    def end(self) -> None:
        """Stop watching; the thread that reads ends by itself, as soon as its disk answers."""
        self._follower.let_go(wait=False)

    def join(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds; return whether the thread that reads has ended."""
        self._follower.thread.join(timeout)
        return not self._follower.thread.is_alive()
