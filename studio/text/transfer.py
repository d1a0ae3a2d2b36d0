"""Speed and time left of a download, in words."""

from __future__ import annotations

import time
from collections import deque

from studio.i18n import tr
from studio.text.numbers import duration_text, size_text

_WINDOW_SECONDS = 8.0
_LEAST_SECONDS = 1.0


class TransferRate:
    """The speed of the last seconds; it is told after the first one."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()

    def text(self, done: int, total: int, now: float | None = None) -> str:
        """Return speed and time left as words, "" while they are not known.

        Args:
            done: bytes that are there, of `total`.
            now: seconds of a clock that only goes forward.
        """
        now = time.monotonic() if now is None else now
        if self._reports and done < self._reports[-1][1]:
            self._reports.clear()  # something was received in vain, or another download begins
        self._reports.append((now, done))
        while now - self._reports[0][0] > _WINDOW_SECONDS and len(self._reports) > 2:
            self._reports.popleft()
        began, before = self._reports[0]
        if now - began < _LEAST_SECONDS:
            return ""
        speed = (done - before) / (now - began)
        words = tr("{size}/s").format(size=size_text(speed))
        if not speed or done >= total:
            return words
        return tr("{speed}, {time} left").format(speed=words, time=duration_text((total - done) / speed))
