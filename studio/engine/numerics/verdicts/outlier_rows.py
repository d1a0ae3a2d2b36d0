"""The gradients of single rows overflow at a loss scale at which those of other rows do not."""

from __future__ import annotations

from studio.engine.numerics.facts import FAR_BELOW, Row, StepFacts
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import begins_in, number, on_rows, rows_evidence
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr


class OutlierRows(Verdict):
    """Single rows fail; each is told of once."""

    name = "outlier_rows"
    title = gettext_noop("Rows whose gradients overflow")

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._told: set[Row] = set()

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if evidence["scale"] is None:
            sentence = tr("Gradients became infinite or undefined, although the loss is finite.")
        else:
            sentence = tr(
                "The gradients of a few rows are more than {ratio} times those of others: at the loss scale {scale} (a "
                "factor that lifts small gradients) they exceed what fp16 can hold ({limit})."
            ).format(scale=number(evidence["scale"]), limit=number(FP16.largest), ratio=number(FAR_BELOW))
        sentence += begins_in(evidence) + on_rows(evidence)
        if evidence["scaling"] == "dynamic":
            return sentence, tr(
                "Look at these rows, and leave them out: at a scale that is small enough for them, the small gradients "
                "of all other rows are lost."
            )
        return sentence, tr("Look at these rows, and leave them out: every update that has one of them is skipped.")

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        return ("skip_rows", *(wider_formats(evidence, options) if evidence["scale"] is not None else ()))

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.cause != "rows" or self._told.issuperset(facts.rows):
            return None
        self._told.update(facts.rows)
        return {
            "module": facts.backward_module,
            "scale": facts.scale if self._run.fp16 else None,
            "scale_before": self._run.loss_scale.last_good,
            **rows_evidence(facts),
        }


VERDICT = OutlierRows
