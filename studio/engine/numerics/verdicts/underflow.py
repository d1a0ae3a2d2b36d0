"""Gradients that fp16 flushes to zero at the present loss scale."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.flushed import BLIND_RAISE, Flushed, flushed
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.throttle import NewsThrottle
from studio.engine.numerics.verdict import Detector, Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number, wider_format
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr
from studio.text.numbers import share_text

# In the paper's SSD network (Micikevicius et al. 2018, figure 3) the three powers of two below fp16's edge decide
# between divergence and full accuracy; at some 2 % of all values a power of two, of the third of them that is not
# zero, that is a fifth.
UNDERFLOW_SHARE = 0.2
# One sample may be a strange batch.
UNDERFLOW_SAMPLES = 2
# Samples without underflow after which another one is news.
QUIET_SAMPLES = 5


class Underflow(Verdict):
    """Gradients lost to zero."""

    name = "underflow"
    title = gettext_noop("Gradients lost to zero")

    def detector(self, run: Watched) -> Detector | None:
        return UnderflowDetector(run) if run.fp16 else None

    def words(self, evidence: Evidence, remedies: Remedies) -> Words:
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

    def remedies(self, evidence: Evidence, options: Options) -> tuple[str, ...]:
        scaling = ("use_dynamic_scaling",) if evidence["scaling"] != "dynamic" else ()
        raising = ("raise_scale",) if evidence["suggested_scale"] and evidence["scaling"] != "off" else ()
        return (*scaling, *raising, *wider_formats(evidence, options))


class UnderflowDetector(Detector):
    """Estimates in every sample how many gradients were flushed."""

    def __init__(self, run: Watched) -> None:
        self._history = run.loss_scale
        self._in_a_row = 0
        self._samples = 0
        self._news = NewsThrottle(QUIET_SAMPLES)

    def observe(self, facts: StepFacts) -> Evidence | None:
        lost = None if facts.done.skipped else lost_gradients(facts)
        if lost is None:
            return None
        self._samples += 1
        self._in_a_row = self._in_a_row + 1 if lost.share >= UNDERFLOW_SHARE else 0
        if self._in_a_row < UNDERFLOW_SAMPLES or not self._news.passes(self._samples, lost.share):
            return None
        evidence = {
            "share": lost.share,
            "scale": facts.scale,
            "suggested_scale": _larger_scale(facts, lost.octaves, self._history.overflowed_at),
        }
        if facts.parameters is not None:
            shares = facts.parameters.shares(facts.scale)
            evidence |= {"zero_share": shares.zero, "subnormal_share": shares.subnormal}
        return evidence


def lost_gradients(facts: StepFacts) -> Flushed | None:
    """Return what was lost in this step of the trained parameters' gradients; None when that is not known.

    It is lost in two places. The gradient of a parameter may itself be too small; then its like stand at fp16's edge.
    Or what flows to it was flushed on the way; then it is zero for no visible reason, and its like may be anywhere.
    """
    if facts.done.grad_norm == 0.0 and facts.done.loss > 0.0:
        return Flushed(share=1.0, octaves=BLIND_RAISE)
    if facts.parameters is None:
        return None
    here = flushed(facts.parameters, facts.scale)
    if facts.flowing is None:
        return here
    before = flushed(facts.flowing, facts.scale)
    if facts.lost_between_modules > before.share:
        before = Flushed(share=facts.lost_between_modules, octaves=max(before.octaves, BLIND_RAISE))
    zeros = facts.parameters.zeros / max(1, facts.parameters.total)
    explained = min(zeros, before.share) if before.share >= UNDERFLOW_SHARE else 0.0
    return Flushed(share=max(here.share, explained), octaves=max(here.octaves, before.octaves))


def _larger_scale(facts: StepFacts, octaves: int, overflowed_at: float) -> float | None:
    """The scale that would keep nearly all, or as much of it as fits; None when no larger one fits."""
    seen = [histogram for histogram in (facts.parameters, facts.flowing) if histogram is not None]
    wanted = facts.scale * 2.0 ** max(1, octaves)
    while wanted > facts.scale and (
        wanted >= overflowed_at or any(histogram.shares(wanted, FP16).overflow > 0 for histogram in seen)
    ):
        wanted /= 2
    return wanted if wanted > facts.scale else None


VERDICT = Underflow()
