"""How often something that repeats is told, and how often something that costs time is done."""

from __future__ import annotations

import math
from collections import deque

# How many times worse something must be to be told again while it lasts.
ESCALATION = 4.0
# Twice may be the same strange batch, tried again; over more steps than these even chance repeats.
WITHIN = 100


class NewsThrottle:
    """Tells whether something is news: when it appears, when it comes back, or when it is much worse than before.

    It has to be absent for more than `quiet` steps to come back, and twice as long each time it was told. So what
    comes and goes through a whole run is told a number of times that grows with the logarithm of the run's length.
    """

    def __init__(self, quiet: int) -> None:
        self._quiet = quiet
        self._worst = 0.0
        self._last = -math.inf

    def passes(self, at: int, severity: float = 1.0) -> bool:
        """Note that it was seen at step `at`; return whether that is news."""
        if at - self._last > self._quiet:
            self._worst = 0.0
        self._last = at
        if severity < ESCALATION * self._worst:
            return False
        self._worst = severity
        self._quiet *= 2
        return True


class CostThrottle:
    """Limits something that costs time: the first `at_once` times are free, then it is due once in some steps."""

    def __init__(self, at_once: int) -> None:
        self._left = at_once
        self._last = 0

    def passes(self, step: int, every: int) -> bool:
        """Return whether it may be done at `step`, and count it then; `every`: steps from one to the next."""
        if self._left == 0 and step - self._last < every:
            return False
        self._left = max(0, self._left - 1)
        self._last = step
        return True


class Repetition:
    """Something without a certain sign, which is established when it happened so many times within 100 steps."""

    def __init__(self, times: int) -> None:
        self.times = times
        self._steps: deque[int] = deque(maxlen=times)

    def established(self, step: int) -> bool:
        """Note that it happened at `step`; return whether it is established."""
        self._steps.append(step)
        return len(self._steps) == self.times and step - self._steps[0] <= WITHIN
