"""The model's own values exceed what fp16 can hold: an activation in the forward pass, or a weight as it is stored."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import WINDOW
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.throttle import NewsThrottle
from studio.engine.numerics.verdict import Detector, Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number, on_rows, rows_evidence, wider_format
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr


class ForwardOverflow(Verdict):
    """Activations or stored weights beyond fp16."""

    name = "forward_overflow"
    title = gettext_noop("Activations beyond fp16")

    def detector(self, run: Watched) -> Detector | None:
        return ForwardOverflowDetector()

    def words(self, evidence: Evidence, remedies: Remedies) -> Words:
        if evidence.get("weights"):
            sentence = tr(
                "Numbers in {module} exceed what fp16 can hold ({limit}) and became infinite when they were stored in "
                "it, so the model cannot compute in fp16; the largest that fits is {largest}."
            )
        else:
            sentence = tr(
                "The output of {module} exceeds what fp16 can hold ({limit}), so the model's own values overflow "
                "before there is any gradient; the largest value before was {largest}."
            )
        sentence = sentence.format(
            module=evidence["module"],
            limit=number(FP16.largest),
            largest=number(evidence["largest_before"], exact=False),
        )
        advice = tr("Loss scaling cannot help here, because it only acts on gradients.") + " " + wider_format(remedies)
        return sentence + on_rows(evidence), advice

    def remedies(self, evidence: Evidence, options: Options) -> tuple[str, ...]:
        return (*wider_formats(evidence, options), *(("skip_rows",) if evidence["rows"] else ()))


class ForwardOverflowDetector(Detector):
    """Tells at once what was located: a value that is infinite in fp16 and finite in fp32 is no chance."""

    def __init__(self) -> None:
        self._news = NewsThrottle(WINDOW)

    def observe(self, facts: StepFacts) -> Evidence | None:
        located = facts.located
        if facts.cause != "range" or located is None or not self._news.passes(facts.step):
            return None
        evidence = {"module": located.module, "largest_before": located.largest_before}
        if located.direction == "weights":
            return {**evidence, "rows": [], "weights": True}
        return {**evidence, **rows_evidence(facts)}


VERDICT = ForwardOverflow()
