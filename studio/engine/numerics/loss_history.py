"""The losses of a run, and whether they have risen for good. Losses of single batches scatter by a third and more."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Collection

# A loss is the mean of -log p of the tokens; one nat more makes each of them e times less likely on average.
RISEN = 1.0
# So many losses are looked at. Four out of five of them have to be high, for a run that has diverged is chaotic, and
# comes near its old losses now and then; by chance, no fifth of healthy losses does the opposite.
STEPS = 20
MOST = 0.8
# Losses that scatter widely must have risen by more than that: by so many standard deviations of a single one. The mean
# of the highest of a thousand windows is 1.7 of them above the lowest median, and more when there are two or three.
SCATTER = 4.0
# But batches that are healthy do not differ by so much, whatever their size: a diverged run may scatter very widely.
CERTAIN = 4.0
# The very first loss is that of the model as it came, which no update has touched. It is one batch's alone, so it
# counts until there are medians to compare with.
FIRST_COUNTS = 60
# At the end of a run fewer losses have to do, and then all of them must be high.
AT_THE_END = 10
FEWEST = 6


class LossHistory:
    """The losses of the steps that were applied.

    Attributes:
        first: the first loss, nan before the first step.
        told_by: the verdict that has told of the rise, or of the explosion that leads to it; no other says it again.
    """

    def __init__(self) -> None:
        self.first = math.nan
        self.told_by = ""
        self._lowest_median = math.inf
        self._recent: deque[float] = deque(maxlen=STEPS)
        self._count = 0
        self._squares = 0.0  # of the differences between one loss and the next

    def add(self, loss: float) -> None:
        """Take in the loss of a step that was applied."""
        self.first = loss if self._count == 0 else self.first
        self._count += 1
        if self._recent:
            self._squares += (loss - self._recent[-1]) ** 2
        self._recent.append(loss)
        if len(self._recent) == STEPS:
            self._lowest_median = min(self._lowest_median, statistics.median(self._recent))

    @property
    def level(self) -> float:
        """What losses were like before they rose, if they have."""
        return min(self.first, self._lowest_median) if self._count <= FIRST_COUNTS else self._lowest_median

    @property
    def of_late(self) -> float:
        """The mean of the last losses; inf before there are any."""
        return statistics.fmean(self._recent) if self._recent else math.inf

    @property
    def last_is_high(self) -> bool:
        """Whether the last loss is as high as one of a run that has diverged."""
        return self._count > 1 and self._recent[-1] >= self.level + RISEN

    @property
    def risen(self) -> bool:
        """Whether the losses have risen far above what they were, and stayed there."""
        high = sum(loss >= self.level + RISEN for loss in self._recent)
        return self._count > STEPS and high >= MOST * STEPS and self._beyond_scatter(self._recent)

    @property
    def ended_high(self) -> bool:
        """Whether the last losses of a run that has ended are far above what they were."""
        last = list(self._recent)[-min(AT_THE_END, self._count // 2) :]
        return self._count >= FEWEST and min(last) >= self.level + RISEN and self._beyond_scatter(last)

    def _beyond_scatter(self, losses: Collection[float]) -> bool:
        # The scatter from one loss to the next, because a steady rise is no scatter.
        scatter = math.sqrt(self._squares / (2 * (self._count - 1)))
        return statistics.fmean(losses) - self.level >= min(SCATTER * scatter, CERTAIN)
