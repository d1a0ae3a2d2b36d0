"""Reads the meters of a run every other second, in a thread of its own.

The thread keeps what it has read, and the training's thread takes it from there and tells it between two of its own
events. So a journal has one writer, and nothing of the meters waits for a disk or for a window.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from studio.events import MetersSampled
from studio.runner.meters.computer import ComputerMeters
from studio.runner.meters.gpu import Meters, meters_of

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two samples: often enough for heat, power and memory, and a line of 300 bytes in the journal."""
MOST_WAITING = 512
"""Samples that wait for the training to tell something. In a step or a pause of more than a quarter of an hour the
oldest are forgotten."""
JOIN_SECONDS = 5.0  # a driver that is being reset may not answer; the thread ends with the process then


class Sampler:
    """The thread, from `start` to `close`; `take` gives what it has read since the last time."""

    def __init__(self, period: float | None = None) -> None:
        self._period = PERIOD if period is None else period
        self._ended = threading.Event()
        self._waiting: deque[tuple[float, float, dict[str, Any]]] = deque(maxlen=MOST_WAITING)
        self._meters: tuple[Meters, ...] = ()
        self._thread = threading.Thread(target=self._go, name="training meters", daemon=True)
        self._step, self._since = 0, time.monotonic()

    def start(self, device: str) -> None:
        """Begin to sample the computer, and the device of torch that the run trains on. A second start does nothing."""
        if self._thread.ident is None:
            gpu = meters_of(device)
            self._meters = (ComputerMeters(),) if gpu is None else (ComputerMeters(), gpu)
            self._thread.start()

    def take(self, step: int) -> list[MetersSampled]:
        """Return what was sampled since the last call; the run has just come to an attempted step.

        A sample within a step stands between two whole steps on the time line of the run, by its time.
        """
        now, before = time.monotonic(), self._step
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        share = (step - before) / max(now - self._since, 1e-9)
        samples = [
            MetersSampled(time=when, step=min(step, max(before, before + (at - self._since) * share)), **values)
            for at, when, values in taken
        ]
        if step != before:
            self._step, self._since = step, now
        return samples

    def go_back(self, step: int) -> None:
        """Forget what was read before the run goes on from a step, after a pause or from a checkpoint."""
        self._waiting.clear()
        self._step, self._since = step, time.monotonic()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
            if self._thread.is_alive():
                log.warning("The meters do not answer; their thread is left behind")

    def look(self) -> None:
        """Ask every meter once, and keep the answers; the thread calls this."""
        values = {name: value for meters in self._meters for name, value in meters.read().items()}
        self._waiting.append((time.monotonic(), time.time(), values))

    def _go(self) -> None:
        try:
            while not self._ended.wait(self._period):
                self.look()
        except Exception:
            log.exception("The meters failed; the run goes on without them")
        finally:
            for meters in self._meters:
                meters.close()
