"""Gradients that fp16 flushes to zero at the present loss scale."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.flushed import BLIND_RAISE, UNDERFLOW_SHARE, Flushed, lost_gradients
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number, wider_format
from studio.exponents import FP16, Histogram
from studio.i18n import gettext_noop, tr
from studio.text.numbers import share_text

# One sample may be a strange batch.
UNDERFLOW_SAMPLES = 2
# An estimate is wrong by a factor of two at most, unless the zeros are there by nature. The count is of all trained
# weights and one update later, so that it need not be above the same limit.
BY_NATURE = UNDERFLOW_SHARE / 2
# Samples without underflow after which another one is news.
QUIET_SAMPLES = 5


class Underflow(Verdict):
    """Samples show a large share of flushed gradients. What is estimated from samples is counted before it is told."""

    name = "underflow"
    title = gettext_noop("Gradients lost to zero")
    quiet = QUIET_SAMPLES

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._in_a_row = 0
        self._samples = 0

    @staticmethod
    def can_happen(run: Watched) -> bool:
        return run.fp16

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if evidence["scaling"] == "off":
            sentence = tr(
                "About {share} of the gradients are too small for fp16 and become zero, so their weights do not learn; "
                "the loss scale, a factor that would lift them, is {scale}, that is off."
            )
        else:
            sentence = tr(
                "About {share} of the gradients are too small for fp16 at the loss scale {scale} (a factor that lifts "
                "small gradients) and become zero, so their weights do not learn."
            )
        sentence = sentence.format(share=share_text(evidence["share"], 1.0), scale=number(evidence["scale"]))
        if "raise_scale" not in remedies and "use_dynamic_scaling" not in remedies:
            return sentence, tr("A larger scale would overflow.") + " " + wider_format(remedies)
        if "raise_scale" not in remedies:
            return sentence, tr("Use dynamic loss scaling, which finds the largest scale that fits.")
        if evidence["scaling"] == "dynamic":
            advice = tr("Begin with the loss scale {scale}; dynamic scaling gets there by itself, but slowly.")
        else:
            advice = tr(
                "Use dynamic loss scaling, which finds the largest scale that fits, or raise the scale to {scale}."
            )
        return sentence, advice.format(scale=number(evidence["suggested_scale"]))

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        scaling = ("use_dynamic_scaling",) if evidence["scaling"] != "dynamic" else ()
        raising = ("raise_scale",) if evidence["suggested_scale"] and evidence["scaling"] != "off" else ()
        return (*scaling, *raising, *wider_formats(evidence, options))

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.done.skipped:
            return None
        if facts.done.grad_norm == 0.0 and facts.done.loss > 0.0:
            lost: Flushed | None = Flushed(share=1.0, octaves=BLIND_RAISE)
        else:
            lost = lost_gradients(facts.sample) if facts.sample else None
        if lost is None:
            return None
        self._samples += 1
        self._in_a_row = self._in_a_row + 1 if lost.share >= UNDERFLOW_SHARE else 0
        if self._in_a_row < UNDERFLOW_SAMPLES or not self._news.passes(self._samples, lost.share):
            return None
        # The estimate cannot tell zeros of a gradient that nothing can flow to. No loss scale helps these.
        counted = facts.recount()
        if counted is not None and counted < BY_NATURE:
            return None
        evidence = {
            "share": lost.share,
            "scale": facts.scale,
            "suggested_scale": _larger_scale(facts, lost.octaves, self._run.loss_scale.overflowed_at),
        }
        if facts.sample is not None:
            shares = Histogram.from_dict(facts.sample.parameters).shares(facts.scale)
            evidence |= {"zero_share": shares.zero, "subnormal_share": shares.subnormal}
        return evidence


def _larger_scale(facts: StepFacts, octaves: int, overflowed_at: float) -> float | None:
    """The scale that would keep nearly all, or as much of it as fits; None when no larger one fits."""
    sample = facts.sample
    seen = [Histogram.from_dict(found) for found in (sample.parameters, sample.gradients)] if sample else []
    wanted = facts.scale * 2.0 ** max(1, octaves)
    while wanted > facts.scale and (
        wanted >= overflowed_at or any(histogram.shares(wanted, FP16).overflow > 0 for histogram in seen)
    ):
        wanted /= 2
    return wanted if wanted > facts.scale else None


VERDICT = Underflow
