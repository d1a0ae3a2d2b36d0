"""A time limit for Python code that somebody else wrote, on any thread: signals would need the main one."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType


class TimeLimitExceeded(BaseException):
    """The code took too long. Not an `Exception`, so that the code cannot catch it."""


class TimeLimit:
    """Raises `TimeLimitExceeded` in the thread that entered it when it stays inside for too long.

    It interrupts between two bytecodes: an endless loop, but not one long computation in C.

    Args:
        seconds: how long it may stay.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._left = False

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
        # Were the exception on its way already, it would be raised by this call, still inside.
        self._timer.cancel()
        self._timer.join()

    def _interrupt(self) -> None:
        with self._lock:
            if not self._left:
                thread = ctypes.c_ulong(self._thread)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeLimitExceeded))
