"""When to say something: once, and again only when it came back or grew much worse; and when to look into it."""

from __future__ import annotations

# How many times worse something must be to be worth a second word.
ESCALATION = 4.0


class Alarm:
    """One thing that may be wrong. It is gone when it was not seen for `quiet` steps, and longer each time it came
    back, so that what comes and goes through a whole run is told a number of times that grows with its logarithm.
    """

    def __init__(self, quiet: int) -> None:
        self._quiet = quiet
        self._worst = 0.0
        self._last = 0

    def seen(self, at: int, severity: float = 1.0) -> bool:
        """Note that it is so at step `at`; return whether that is news."""
        if at - self._last > self._quiet:
            self._worst = 0.0
        self._last = at
        if severity < ESCALATION * self._worst:
            return False
        self._worst = severity
        self._quiet *= 2
        return True


class Rare:
    """Something harmless that repeats: told the 1st, 2nd, 4th, 8th, … time."""

    def __init__(self) -> None:
        self.count = 0

    def seen(self) -> bool:
        """Count it; return whether to tell it."""
        self.count += 1
        return self.count & (self.count - 1) == 0


class Sparing:
    """Something dear: done the first few times at once, and from then on once in so many steps."""

    def __init__(self, at_once: int) -> None:
        self._left = at_once
        self._last = 0

    def due(self, step: int, every: int) -> bool:
        """Return whether it may be done at `step`, and count it then; `every`: the steps between two, from now on."""
        if self._left == 0 and step - self._last < every:
            return False
        self._left = max(0, self._left - 1)
        self._last = step
        return True
