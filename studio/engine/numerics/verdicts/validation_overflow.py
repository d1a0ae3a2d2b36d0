"""The validation loss is nan or infinite while training itself goes well."""

from __future__ import annotations

import math

from studio.engine.numerics.facts import StepFacts, ValidationFacts
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number, on_rows, rows_evidence, wider_format
from studio.events import spell_non_finite
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr


class ValidationOverflow(Verdict):
    """Told with the next step after a validation loss that is not finite: one that fails alike has its own verdict."""

    name = "validation_overflow"
    title = gettext_noop("Overflow in validation")

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._pending: Evidence | None = None

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if evidence["beyond_fp16"]:
            sentence = tr(
                "The validation loss is {loss}, not a number to compare: on held-out rows the output of {module} "
                "exceeds what fp16 can hold ({limit}), which no row did in training; the largest value before was "
                "{largest}."
            )
        elif evidence["direction"] == "forward":
            sentence = tr(
                "The validation loss is {loss}, not a number to compare: on held-out rows the first value that is none "
                "came from {module}, which did not happen in training."
            )
        else:
            sentence = tr(
                "The validation loss is {loss}, not a number to compare, while the losses of training are in order."
            )
        sentence = sentence.format(
            loss=evidence["loss"],
            module=evidence["module"],
            limit=number(FP16.largest),
            largest=number(evidence["largest_before"], exact=False),
        )
        if evidence["beyond_fp16"]:
            advice = tr("Training is not harmed, but rows like these fail in fp16 later, too.")
            return sentence + on_rows(evidence), f"{advice} {wider_format(remedies)}"
        return sentence + on_rows(evidence), tr("Training is not harmed. Look at the held-out rows.")

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        wider = wider_formats(evidence, options) if evidence["beyond_fp16"] else ()
        return (*wider, *(("skip_rows",) if evidence["rows"] else ()))

    def validated(self, facts: ValidationFacts) -> None:
        self._pending = None if math.isfinite(facts.done.loss) else self._evidence(facts)

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.cause == "gradients":
            return None  # they overflow behind a forward pass that is in order
        if facts.cause is not None:
            self._pending = None
        return self.finish(facts.step)

    def finish(self, step: int) -> Evidence | None:
        pending, self._pending = self._pending, None
        return pending if pending is not None and self._news.passes(step) else None

    def _evidence(self, facts: ValidationFacts) -> Evidence:
        located = facts.located
        forward = located is not None and located.direction == "forward"
        return {
            "loss": spell_non_finite(facts.done.loss),
            "update": facts.done.update,
            "direction": located.direction if located else "unknown",
            "module": located.module if located and forward else "",
            "largest_before": located.largest_before if located else 0.0,
            "beyond_fp16": bool(self._run.fp16 and located and forward and located.exceeds_fp16 is not False),
            **rows_evidence(facts),
        }


VERDICT = ValidationOverflow
