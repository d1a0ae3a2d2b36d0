"""The history of the loss scale: which skipped steps are dynamic loss scaling at work, and which are not.

Dynamic scaling (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2; torch's GradScaler, whose defaults are ours)
overflows on purpose: it starts too high and halves the scale until nothing overflows, and it doubles the scale after
2000 good updates to see whether a larger one fits. A scale that falls to where it has not been before is a search,
and there are few of those: it ends at a good scale or at the floor. A scale that overflows where it stood higher than
one that already worked is a repetition; repetitions are normal once in a growth interval, and wasteful beyond 5 %.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass

from studio.config import PrecisionConfig
from studio.engine.numerics.facts import StepFacts

# More skipped steps than this are chronic (customary bound; torch's defaults give 0.05 %).
CHRONIC_SHARE = 0.05
# So many steps are looked back on: the shortest window in which 5 % is a number of steps that chance does not give.
WINDOW = 100
# Where the scale grows less often than that, so many growths are looked back on, up to a length that memory bears.
GROWTHS = 3
LONGEST = 10_000
# After so many good updates in a row a search has ended: fewer than 5 % are skipped then.
SETTLED = round(1 / CHRONIC_SHARE)


@dataclass
class Descent:
    """Consecutive skips.

    Attributes:
        repeated: it began above a scale that had already worked.
        before_growth: the scale before it last grew, where a growth led to this overflow.
    """

    first_step: int
    from_scale: float
    to_scale: float
    skipped: int
    repeated: bool
    before_growth: float | None

    @property
    def failed_growth(self) -> bool:
        """Whether this only took a growth back."""
        return self.before_growth is not None and (self.skipped == 1 or self.to_scale >= self.before_growth)


class LossScaleHistory:
    """Follows the loss scale through the steps whose loss was finite.

    Attributes:
        scaling: dynamic, static or off.
        overflowed_at: the smallest scale that overflowed and has not worked since, inf where there is none.
        recent: the last steps, (skipped, counts as a repetition) each.
        repeats: where the last two descents began that repeated what was known.
        unanswered: the last steps that overflowed while the scale could not fall.
        search: descents to scales that had not been tried, joined; None where none has been since the last was told.
        ended: the descent that this step ended.
        good_in_a_row: updates without an overflow, up to now.
        last_good: the scale of the last step that was applied, None before the first.
    """

    def __init__(self, config: PrecisionConfig, scaling: str, established: int) -> None:
        """`established`: so many overflows that cannot be answered are no chance."""
        self.config = config
        self.scaling = scaling
        self.established = established
        self.overflowed_at = math.inf
        window = max(WINDOW, GROWTHS * config.growth_interval if scaling == "dynamic" else 0)
        self.recent: deque[tuple[bool, bool]] = deque(maxlen=min(window, LONGEST))
        self.repeats: deque[int] = deque(maxlen=2)
        self.unanswered: deque[int] = deque(maxlen=established)
        self.search: Descent | None = None
        self.ended: Descent | None = None
        self.good_in_a_row = 0
        self.last_good: float | None = None
        self._descent: Descent | None = None
        self._before_growth: float | None = None
        self._last_scale: float | None = None
        self._lowest_good = math.inf

    def update(self, facts: StepFacts) -> None:
        """Take in a step that was applied, or one whose gradients alone were not finite."""
        scale = facts.scale
        if self._last_scale is not None and scale > self._last_scale:
            self._before_growth = self._last_scale
        self._last_scale = scale
        self.ended = None
        if facts.done.skipped:
            self._overflowed(facts)
        else:
            self._applied(scale)

    def forget_descent(self) -> None:
        """Take it that the present descent says nothing about the model: single rows led to it."""
        self._descent = self.search = None

    def keeps_overflowing(self, step: int) -> bool:
        """Return whether enough overflows, none of which a smaller scale could answer, happened lately."""
        return len(self.unanswered) == self.established and step - self.unanswered[0] <= WINDOW

    @property
    def often(self) -> bool:
        """Whether the scale grows so often that growths which fail are not told one by one: they are chronic."""
        return self.config.growth_interval < SETTLED

    def _overflowed(self, facts: StepFacts) -> None:
        self.good_in_a_row = 0
        self.overflowed_at = min(self.overflowed_at, facts.scale)
        if facts.can_back_off:
            repeated = self._descend(facts)
        else:
            repeated = self.scaling != "dynamic"
            self.unanswered.append(facts.step)
            self.search = None
        self.recent.append((True, repeated))

    def _applied(self, scale: float) -> None:
        self.last_good = scale
        self._lowest_good = min(self._lowest_good, scale)
        self.overflowed_at = math.inf if scale >= self.overflowed_at else self.overflowed_at
        self.good_in_a_row += 1
        self.recent.append((False, False))
        self.ended, self._descent = self._descent, None
        if self.ended and not self.ended.failed_growth and not (self.often and self.ended.repeated):
            joined = self.ended
            if self.search is not None:
                skipped = self.search.skipped + joined.skipped
                joined = dataclasses.replace(
                    self.search, to_scale=joined.to_scale, skipped=skipped, repeated=False, before_growth=None
                )
            self.search = joined

    def _descend(self, facts: StepFacts) -> bool:
        """Extend the present descent, or begin one; return whether the step only repeats what was known.

        That is so in every step of it that is above a scale which has worked.
        """
        scale = facts.scale
        lower = facts.next_scale if facts.next_scale is not None else scale * self.config.backoff_factor
        if self._descent is not None:
            self._descent.skipped += 1
            self._descent.to_scale = lower
            return self._descent.repeated and scale > self._lowest_good
        repeated = scale > self._lowest_good
        if repeated:
            self.repeats.append(facts.step)
        self._descent = Descent(facts.step, scale, lower, 1, repeated, self._before_growth)
        self._before_growth = None
        return repeated
