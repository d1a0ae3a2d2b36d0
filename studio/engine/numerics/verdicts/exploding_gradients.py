"""Gradients that are orders of magnitude too long step after step, or infinite without any scale to blame."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import WINDOW
from studio.engine.numerics.throttle import NewsThrottle, Repetition
from studio.engine.numerics.verdict import Detector, Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import begins_in, number
from studio.i18n import gettext_noop, tr

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


class ExplodingGradients(Verdict):
    """Exploding gradients."""

    name = "exploding_gradients"
    title = gettext_noop("Exploding gradients")

    def detector(self, run: Watched) -> Detector | None:
        return ExplodingGradientsDetector(run)

    def words(self, evidence: Evidence, remedies: Remedies) -> Words:
        if "overflows" in evidence:
            sentence = tr("Gradients became infinite or undefined in steps whose loss was finite; such steps: {count}.")
            sentence = sentence.format(count=evidence["overflows"]) + begins_in(evidence)
        elif not evidence["max_grad_norm"]:
            sentence = tr("Gradients explode: their length (norm) is about {norm}, {steps} steps in a row, unclipped.")
        else:
            sentence = tr(
                "Gradients explode: their length (norm) is about {norm}, {steps} steps in a row, and is shortened "
                "(clipped) to {clip}, one part in {ratio}."
            )
        if "overflows" not in evidence:
            sentence = sentence.format(
                norm=number(evidence["grad_norm"], exact=False),
                steps=evidence["steps"],
                clip=number(evidence["max_grad_norm"]),
                ratio=number(evidence["ratio"], exact=False),
            )
        if "restore_checkpoint" in remedies:
            advice = tr("Lower the learning rate, and go back to a checkpoint from before if the loss has risen.")
        else:
            advice = tr("Lower the learning rate, and start again if the loss has risen.")
        return sentence, advice

    def remedies(self, evidence: Evidence, options: Options) -> tuple[str, ...]:
        return ("lower_learning_rate", *(("restore_checkpoint",) if options.can_restore else ()))


class ExplodingGradientsDetector(Detector):
    """Follows norms and losses of the steps that were applied, and counts the gradients that were not finite."""

    def __init__(self, run: Watched) -> None:
        self._fp16 = run.fp16
        self._clip = run.config.training.max_grad_norm
        self._limit = max(self._clip, NORMAL_NORM)
        self._norms: deque[float] = deque(maxlen=HOPELESS_STEPS)
        self._losses: deque[float] = deque(maxlen=LOSSES)
        self._first_losses: list[float] = []
        self._level = math.inf  # the lowest that norms were on the whole
        self._long = 0  # norms in a row that are beyond the limit
        self._news = NewsThrottle(EXPLODED_STEPS)
        self._undefined = Repetition(run.established)
        self._undefined_news = NewsThrottle(WINDOW)

    @property
    def suspects(self) -> bool:
        return self._long > 0 and (self._norms[-1] >= EXPLODED * self._level or self._grown() >= DIVERGED)

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.done.skipped:
            # In fp32 and bf16 there is no scale to blame.
            return self._undefined_gradients(facts) if facts.cause == "gradients" and not self._fp16 else None
        norm, loss = facts.done.grad_norm, facts.done.loss
        self._norms.append(norm)
        self._losses.append(loss)
        if len(self._first_losses) < LOSSES:
            self._first_losses.append(loss)
        self._long = self._long + 1 if norm >= EXPLODED * self._limit else 0
        exploded = self._exploded()
        # The very first norm is that of the model as it came; later ones count by the median of five.
        recent = self._last(BASELINE)
        if len(recent) == BASELINE or math.isinf(self._level):
            self._level = min(self._level, statistics.median(recent))
        typical = statistics.median(self._last(EXPLODED_STEPS))
        if not exploded or not self._news.passes(facts.step, math.log10(typical / self._limit)):
            return None
        return {
            "grad_norm": typical,
            "max_grad_norm": self._clip,
            "ratio": typical / (self._clip or NORMAL_NORM),
            "steps": min(self._long, HOPELESS_STEPS),
            "lowest_before": self._level,
        }

    def _undefined_gradients(self, facts: StepFacts) -> Evidence | None:
        if not self._undefined.established(facts.step) or not self._undefined_news.passes(facts.step):
            return None
        return {"module": facts.backward_module, "overflows": self._undefined.times}

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


VERDICT = ExplodingGradients()
