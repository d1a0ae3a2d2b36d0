"""What can go wrong in steps that were applied: gradients that explode or vanish, and updates that are rounded away."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque

from studio.engine.numerics.alarm import Alarm
from studio.engine.numerics.flushed import BLIND_RAISE, Flushed, flushed
from studio.engine.numerics.verdicts import Finding, StepFacts
from studio.exponents import FP16

# Two orders of magnitude beyond the clip limit, and beyond what the run began with. A norm that is merely large from
# the start is only a matter of units: AdamW divides by it.
EXPLODED = 100.0
EXPLODED_STEPS = 20
# From the start and without learning, three orders of magnitude are too much whatever the units: the loss is a mean
# per token, whose gradient norm is 0.1 to 100 in models that work.
HOPELESS = 1000.0
HOPELESS_STEPS = 50
LEARNING = 0.9  # the loss is below this part of what it was
# A loss that has risen by half while the gradients are that long is no matter of units either.
DIVERGED = 1.5
# The customary clip limit, for runs that have none or a smaller one: how short a norm is cut says nothing about it.
NORMAL_NORM = 1.0
BASELINE = 5
# Losses of single batches scatter by a third and more; means of so many do not differ by half by chance.
LOSSES = 30

# In the paper's SSD network (Micikevicius et al. 2018, figure 3) the three powers of two below fp16's edge decide
# between divergence and full accuracy; at some 2 % of all values a power of two, of the third of them that is not
# zero, that is a fifth.
UNDERFLOW_SHARE = 0.2
# One sample may be a strange batch.
UNDERFLOW_SAMPLES = 2
QUIET_SAMPLES = 5

# bf16 keeps 8 bits: an update below 2⁻⁹ of its weight changes nothing. A weight that misses every other update is
# not trained at the rate that was asked for.
STALL_SHARE = 0.5
STALL_OBSERVATIONS = 3
# Updates are small by intention while the rate warms up and when it has decayed.
FULL_RATE = 0.5


class ExplosionWatch:
    """Finite gradients, orders of magnitude too long, step after step."""

    def __init__(self, max_grad_norm: float) -> None:
        self._clip = max_grad_norm
        self._limit = max(max_grad_norm, NORMAL_NORM)
        self._norms: deque[float] = deque(maxlen=HOPELESS_STEPS)
        self._losses: deque[float] = deque(maxlen=LOSSES)
        self._first_losses: list[float] = []
        self._level = math.inf  # the lowest that norms were on the whole
        self._long = 0  # norms in a row that are beyond the limit
        self._alarm = Alarm(EXPLODED_STEPS)

    def applied(self, facts: StepFacts) -> Finding | None:
        """Take in a step that was applied."""
        norm = facts.grad_norm
        self._norms.append(norm)
        self._losses.append(facts.loss)
        if len(self._first_losses) < LOSSES:
            self._first_losses.append(facts.loss)
        self._long = self._long + 1 if norm >= EXPLODED * self._limit else 0
        exploded = self._exploded()
        # The very first norm is that of the model as it came; later ones count by the median of five.
        recent = list(itertools.islice(reversed(self._norms), BASELINE))
        if len(recent) == BASELINE or math.isinf(self._level):
            self._level = min(self._level, statistics.median(recent))
        typical = statistics.median(self._last(EXPLODED_STEPS))
        if not exploded or not self._alarm.seen(facts.step, math.log10(typical / self._limit)):
            return None
        return Finding(
            name="exploding_gradients",
            evidence={
                "grad_norm": typical,
                "max_grad_norm": self._clip,
                "ratio": typical / (self._clip or NORMAL_NORM),
                "steps": min(self._long, HOPELESS_STEPS),
                "lowest_before": self._level,
            },
        )

    @property
    def suspects(self) -> bool:
        """Whether the last step may be one of an explosion that is not established yet."""
        return self._long > 0 and (self._norms[-1] >= EXPLODED * self._level or self._grown() >= DIVERGED)

    def _exploded(self) -> bool:
        if self._long < EXPLODED_STEPS:
            return False
        if min(self._last(EXPLODED_STEPS)) >= EXPLODED * self._level or self._grown() >= DIVERGED:
            return True
        hopeless = self._long >= HOPELESS_STEPS and min(self._norms) >= HOPELESS * self._limit
        return hopeless and self._grown() > LEARNING

    def _grown(self) -> float:
        """The loss of late as a part of what it was at first."""
        return statistics.fmean(self._losses) / max(statistics.fmean(self._first_losses), 1e-9)

    def _last(self, count: int) -> list[float]:
        return list(itertools.islice(reversed(self._norms), count))


class UnderflowWatch:
    """Gradients that fp16 flushes to zero at the present loss scale."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._samples = 0
        self._alarm = Alarm(QUIET_SAMPLES)

    def applied(self, facts: StepFacts, overflowed_at: float) -> Finding | None:
        """Take in a step that was applied; `overflowed_at` is the smallest scale known to be too large."""
        lost = _lost(facts)
        if lost is None:
            return None
        self._samples += 1
        self._in_a_row = self._in_a_row + 1 if lost.share >= UNDERFLOW_SHARE else 0
        if self._in_a_row < UNDERFLOW_SAMPLES or not self._alarm.seen(self._samples, lost.share):
            return None
        scale = facts.grad_scale or 1.0
        evidence = {
            "share": lost.share,
            "scale": scale,
            "suggested_scale": _larger_scale(facts, scale, lost.octaves, overflowed_at),
        }
        if facts.parameters is not None:
            shares = facts.parameters.shares(scale)
            evidence |= {"zero_share": shares.zero, "subnormal_share": shares.subnormal}
        return Finding(name="underflow", evidence=evidence)


def _lost(facts: StepFacts) -> Flushed | None:
    """What was lost in this step of the trained parameters' gradients; None when that is not known.

    It is lost in two places. The gradient of a parameter may itself be too small; then its like stand at fp16's edge.
    Or what flows to it was flushed on the way; then it is zero for no visible reason, and its like may be anywhere.
    """
    if facts.grad_norm == 0.0 and facts.loss > 0.0:
        return Flushed(share=1.0, octaves=BLIND_RAISE)
    if facts.parameters is None:
        return None
    scale = facts.grad_scale or 1.0
    here = flushed(facts.parameters, scale)
    if facts.flowing is None:
        return here
    before = flushed(facts.flowing, scale)
    if facts.lost_between_modules > before.share:
        before = Flushed(share=facts.lost_between_modules, octaves=max(before.octaves, BLIND_RAISE))
    zeros = facts.parameters.zeros / max(1, facts.parameters.total)
    explained = min(zeros, before.share) if before.share >= UNDERFLOW_SHARE else 0.0
    return Flushed(share=max(here.share, explained), octaves=max(here.octaves, before.octaves))


def _larger_scale(facts: StepFacts, scale: float, octaves: int, overflowed_at: float) -> float | None:
    """The scale that would keep nearly all, or as much of it as fits; None when no larger one fits."""
    seen = [histogram for histogram in (facts.parameters, facts.flowing) if histogram is not None]
    wanted = scale * 2.0 ** max(1, octaves)
    while wanted > scale and (
        wanted >= overflowed_at or any(histogram.shares(wanted, FP16).overflow > 0 for histogram in seen)
    ):
        wanted /= 2
    return wanted if wanted > scale else None


class StallWatch:
    """Updates that are lost to rounding, because the weights themselves have 16 bits."""

    def __init__(self, peak_learning_rate: float) -> None:
        self._full_rate = FULL_RATE * peak_learning_rate
        self._in_a_row = 0
        self._observations = 0
        self._alarm = Alarm(QUIET_SAMPLES)

    def applied(self, facts: StepFacts) -> Finding | None:
        """Take in a step that was applied."""
        if facts.lost_updates is None or facts.learning_rate < self._full_rate:
            return None
        self._observations += 1
        self._in_a_row = self._in_a_row + 1 if facts.lost_updates >= STALL_SHARE else 0
        news = self._in_a_row >= STALL_OBSERVATIONS and self._alarm.seen(self._observations, facts.lost_updates)
        if not news:
            return None
        return Finding(name="bf16_stall", evidence={"share": facts.lost_updates, "learning_rate": facts.learning_rate})
