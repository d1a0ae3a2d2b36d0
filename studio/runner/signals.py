"""Signals to a program that trains: stop and save, or save a checkpoint now."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Ctrl-C, a request to end, a terminal that was closed or lost. Windows has no SIGHUP and no SIGUSR1.
_STOP = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_CHECKPOINT = ("SIGUSR1",)


@contextmanager
def on_signals(stop: Callable[[signal.Signals], None], checkpoint: Callable[[], None]) -> Iterator[None]:
    """Within, call `stop` with each signal that asks the program to end, and `checkpoint` on SIGUSR1.

    A closed terminal that is to be ignored stays so: `nohup` lets a program outlive its terminal in that way.
    """

    def handle(number: int, _: Any) -> None:
        if (received := signal.Signals(number)).name in _CHECKPOINT:
            checkpoint()
        else:
            stop(received)

    known = [getattr(signal, name) for name in (*_STOP, *_CHECKPOINT) if hasattr(signal, name)]
    ignored = [one for one in known if one.name == "SIGHUP" and signal.getsignal(one) == signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in known if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
