"""Which of the skipped steps are dynamic loss scaling at work, and which are not.

Dynamic scaling (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2; torch's GradScaler, whose defaults are ours)
overflows on purpose: it starts too high and halves the scale until nothing overflows, and it doubles the scale after
2000 good updates to see whether a larger one fits. A scale that falls to where it has not been before is a search,
and there are few of those: it ends at a good scale or at the floor. A scale that overflows where it stood higher than
one that already worked is a repetition; repetitions are normal once in a growth interval, and wasteful beyond 5 %.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from studio.config import PrecisionConfig
from studio.engine.numerics.alarm import Alarm, Rare
from studio.engine.numerics.verdicts import Finding, StepFacts

# More skipped steps than this are chronic (customary bound; torch's defaults give 0.05 %).
CHRONIC_SHARE = 0.05
# So many steps are looked back on: the shortest window in which 5 % is a number of steps that chance does not give.
WINDOW = 100
# Fewer repetitions than 5 % of the window make no share, however short the run is so far.
FEWEST = round(CHRONIC_SHARE * WINDOW)
# After so many good updates in a row a search has ended: fewer than 5 % are skipped then.
SETTLED = round(1 / CHRONIC_SHARE)


@dataclass
class _Descent:
    """Consecutive skips. `before_growth` is the scale before it last grew, where a growth led to this overflow."""

    first_step: int
    from_scale: float
    to_scale: float
    skipped: int
    repeated: bool
    before_growth: float | None

    def failed_growth(self) -> bool:
        """Whether this only took a growth back."""
        return self.before_growth is not None and (self.skipped == 1 or self.to_scale >= self.before_growth)


class ScaleWatch:
    """Follows the loss scale through the steps whose loss was finite."""

    def __init__(self, config: PrecisionConfig, scaling: str, established: int) -> None:
        """`scaling`: dynamic, static or off. `established`: so many overflows that cannot be answered are no chance."""
        self._config = config
        self._scaling = scaling
        self._established = established
        self._descent: _Descent | None = None
        self._search: _Descent | None = None  # ended, and not yet told
        self._before_growth: float | None = None
        self._last_scale: float | None = None
        self._lowest_good = math.inf
        self._good_in_a_row = 0
        self._settled_once = False
        self._recent: deque[tuple[bool, bool]] = deque(maxlen=WINDOW)  # skipped, counts as a repetition
        self._unanswered: deque[int] = deque(maxlen=established)
        self._chronic, self._collapse = Alarm(WINDOW), Alarm(WINDOW)
        self._probes, self._searches = Rare(), Rare()
        self.overflowed_at = math.inf  # the smallest scale that overflowed and has not worked since

    def overflowed(self, facts: StepFacts) -> Finding | None:
        """Take in a step whose loss was finite and whose gradients were not."""
        scale = facts.grad_scale or 1.0
        self._notice_growth(scale)
        self._good_in_a_row = 0
        self.overflowed_at = min(self.overflowed_at, scale)
        if facts.can_back_off:
            repeated = self._descend(facts, scale)
        else:
            repeated = self._scaling != "dynamic"
            self._unanswered.append(facts.step)
            self._search = None
        self._recent.append((True, repeated))
        if not facts.can_back_off and self._scaling == "dynamic":
            return self._collapsed(facts, scale)
        return self._overflows_chronically(facts, scale)

    def applied(self, facts: StepFacts) -> Finding | None:
        """Take in a step that was applied."""
        scale = facts.grad_scale or 1.0
        self._notice_growth(scale)
        self._lowest_good = min(self._lowest_good, scale)
        self.overflowed_at = math.inf if scale >= self.overflowed_at else self.overflowed_at
        self._good_in_a_row += 1
        self._recent.append((False, False))
        if self._descent is not None:
            return self._end_descent(self._descent)
        if self._good_in_a_row == SETTLED:
            return self.settled()
        return None

    def settled(self) -> Finding | None:
        """Tell of a search that has ended, if there was one: after enough good updates, or at the end of the run."""
        search, at_start = self._search, not self._settled_once
        self._search, self._settled_once = None, True
        if search is None or not self._searches.seen():
            return None
        return Finding(
            name="scale_search",
            evidence={
                "first_step": search.first_step,
                "skipped": search.skipped,
                "from_scale": search.from_scale,
                "to_scale": search.to_scale,
                "at_start": at_start,
            },
        )

    def _notice_growth(self, scale: float) -> None:
        if self._last_scale is not None and scale > self._last_scale:
            self._before_growth = self._last_scale
        self._last_scale = scale

    def _descend(self, facts: StepFacts, scale: float) -> bool:
        """Extend the present descent, or begin one; return whether one began that repeats what was known."""
        lower = facts.next_scale if facts.next_scale is not None else scale * self._config.backoff_factor
        if self._descent is not None:
            self._descent.skipped += 1
            self._descent.to_scale = lower
            return False
        repeated = scale > self._lowest_good
        self._descent = _Descent(facts.step, scale, lower, 1, repeated, self._before_growth)
        self._before_growth = None
        return repeated

    def _end_descent(self, descent: _Descent) -> Finding | None:
        self._descent = None
        # Growths that fail more often than that are not told one by one: together they are chronic.
        often = self._config.growth_interval < SETTLED
        if not descent.failed_growth():
            if not (often and descent.repeated):
                self._search = descent if self._search is None else _joined(self._search, descent)
            return None
        if often or not self._probes.seen():
            return None
        return Finding(
            name="growth_probe",
            evidence={
                "tried_scale": descent.from_scale,
                "scale": descent.to_scale,
                "skipped": descent.skipped,
                "growth_interval": self._config.growth_interval,
                "probes": self._probes.count,
            },
        )

    def _collapsed(self, facts: StepFacts, scale: float) -> Finding | None:
        if not self._keeps_overflowing(facts.step) or not self._collapse.seen(facts.step):
            return None
        return Finding(name="scale_collapse", evidence={"scale": scale, "overflows": len(self._unanswered)})

    def _overflows_chronically(self, facts: StepFacts, scale: float) -> Finding | None:
        steps = len(self._recent)
        skipped = sum(skip for skip, _ in self._recent)
        repetitions = sum(repeated for _, repeated in self._recent)
        often = repetitions >= FEWEST and repetitions > CHRONIC_SHARE * steps
        in_a_row = all(skip for skip, _ in list(self._recent)[-self._established :])
        unanswered = self._scaling != "dynamic" and in_a_row and self._keeps_overflowing(facts.step)
        if not (often or unanswered) or not self._chronic.seen(facts.step, skipped / steps):
            return None
        self._search = None
        return Finding(
            name="chronic_overflow",
            evidence={
                "share": skipped / steps,
                "skipped": skipped,
                "steps": steps,
                "scale": scale,
                "growth_interval": self._config.growth_interval,
            },
        )

    def _keeps_overflowing(self, step: int) -> bool:
        """Whether enough overflows, none of which a smaller scale could answer, happened lately."""
        return len(self._unanswered) == self._established and step - self._unanswered[0] <= WINDOW


def _joined(first: _Descent, second: _Descent) -> _Descent:
    return _Descent(first.first_step, first.from_scale, second.to_scale, first.skipped + second.skipped, False, None)
