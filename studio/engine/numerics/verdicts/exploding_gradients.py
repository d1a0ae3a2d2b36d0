"""Gradients that are orders of magnitude too long step after step, or infinite without any scale to blame."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import WINDOW
from studio.engine.numerics.throttle import NewsThrottle, Repetition
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import begins_in, number
from studio.i18n import gettext_noop, tr

# Two orders of magnitude beyond the clip limit, and beyond what the run began with. A norm that is merely large from
# the start is only a matter of units: AdamW divides by it.
EXPLODED = 100.0
# So many steps are looked at; four out of five of them have to be that long, because what explodes is chaotic.
EXPLODED_STEPS = 20
MOST = 0.8
# From the start and without learning, three orders of magnitude are too much whatever the units: the loss is a mean
# per token, whose gradient norm is 0.1 to 100 in models that work.
HOPELESS = 1000.0
HOPELESS_STEPS = 50
LEARNING = 0.9  # the loss is below this part of what it was
# The customary clip limit, for runs that have none or a smaller one: how short a norm is cut says nothing about it.
NORMAL_NORM = 1.0
BASELINE = 5
# Steps over which gradients must be that long, typically, where the loss has risen as well.
WHILE_RISEN = 10


class ExplodingGradients(Verdict):
    """Norms are far too long in steps that are applied, or gradients are not finite."""

    name = "exploding_gradients"
    title = gettext_noop("Exploding gradients")
    order = 90  # before divergence, of which it is the reason
    quiet = EXPLODED_STEPS

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._clip = run.config.training.max_grad_norm
        self._limit = max(self._clip, NORMAL_NORM)
        self._losses = run.losses
        self._norms: deque[float] = deque(maxlen=HOPELESS_STEPS)
        self._level = math.inf  # the lowest that norms were on the whole
        self._undefined = Repetition(run.established)
        self._undefined_news = NewsThrottle(WINDOW)

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if "overflows" in evidence:
            sentence = tr("Gradients became infinite or undefined in steps whose loss was finite; such steps: {count}.")
            sentence = sentence.format(count=evidence["overflows"]) + begins_in(evidence)
        elif not evidence["max_grad_norm"]:
            sentence = tr(
                "Gradients explode: their length (norm) is about {norm} in {steps} of the last 20 steps, unclipped."
            )
        else:
            sentence = tr(
                "Gradients explode: their length (norm) is about {norm} in {steps} of the last 20 steps, and is "
                "shortened (clipped) to {clip}, one part in {ratio}."
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

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        return ("lower_learning_rate", *(("restore_checkpoint",) if options.can_restore else ()))

    @property
    def suspects(self) -> bool:
        return bool(self._norms) and self._norms[-1] >= EXPLODED * max(self._limit, self._level)

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.done.skipped:
            # In fp32 and bf16 there is no scale to blame.
            return self._undefined_gradients(facts) if facts.cause == "gradients" and not self._run.fp16 else None
        self._norms.append(facts.done.grad_norm)
        exploded = self._exploded()
        # The very first norm is that of the model as it came; later ones count by the median of five.
        recent = self._last(BASELINE)
        if len(recent) == BASELINE or math.isinf(self._level):
            self._level = min(self._level, statistics.median(recent))
        typical = statistics.median(self._last(EXPLODED_STEPS))
        told_already = self._losses.told_by not in ("", self.name)
        if not exploded or told_already or not self._news.passes(facts.step, math.log10(typical / self._limit)):
            return None
        self._losses.told_by = self.name
        return {
            "grad_norm": typical,
            "max_grad_norm": self._clip,
            "ratio": typical / (self._clip or NORMAL_NORM),
            "steps": sum(norm >= EXPLODED * self._limit for norm in self._last(EXPLODED_STEPS)),
            "lowest_before": self._level,
        }

    def _undefined_gradients(self, facts: StepFacts) -> Evidence | None:
        if not self._undefined.established(facts.step) or not self._undefined_news.passes(facts.step):
            return None
        self._losses.told_by = self.name
        return {"module": facts.backward_module, "overflows": self._undefined.times}

    def _exploded(self) -> bool:
        limit = EXPLODED * max(self._limit, self._level)
        if sum(norm >= limit for norm in self._last(EXPLODED_STEPS)) >= MOST * EXPLODED_STEPS:
            return True
        # A loss that has risen while the gradients are that long is no matter of units either.
        if self._losses.risen and statistics.median(self._last(WHILE_RISEN)) >= EXPLODED * self._limit:
            return True
        hopeless = len(self._norms) == HOPELESS_STEPS and min(self._norms) >= HOPELESS * self._limit
        return hopeless and self._losses.of_late > LEARNING * self._losses.first

    def _last(self, count: int) -> list[float]:
        return list(itertools.islice(reversed(self._norms), count))


VERDICT = ExplodingGradients
