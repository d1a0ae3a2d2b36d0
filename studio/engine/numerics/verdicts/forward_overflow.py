"""The model's own values exceed what fp16 can hold: an activation in the forward pass, or a weight as it is stored."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.remedies import wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Words
from studio.engine.numerics.words import number, on_rows, rows_evidence, wider_format
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr


class ForwardOverflow(Verdict):
    """Told at once where it was located: a value that is infinite in fp16 and finite in fp32 is no chance."""

    name = "forward_overflow"
    title = gettext_noop("Activations beyond fp16")

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
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
        if "use_automatic_storage" in remedies:
            advice = tr("Store the frozen weights in the format that the run computes in, which has the range of fp32.")
        elif "lower_learning_rate" in remedies and "restore_checkpoint" in remedies:
            advice = tr(
                "The updates led to this: lower the learning rate, and go back to the last good checkpoint. Loss "
                "scaling cannot help, because it only acts on gradients."
            )
        elif "lower_learning_rate" in remedies:
            advice = tr(
                "The updates may have led to this: lower the learning rate. Loss scaling cannot help, because it only "
                "acts on gradients."
            )
        else:
            advice = tr("Loss scaling cannot help here, because it only acts on gradients.")
            advice += " " + wider_format(remedies)
        return sentence + on_rows(evidence), advice

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        wide = wider_formats(evidence, options)
        rows = ("skip_rows",) if evidence["rows"] else ()
        if "fp16" not in evidence["precision"]:  # then only the storage of frozen weights is in fp16
            return ("use_automatic_storage", *wide)
        # Updates may have led to it where some were applied, and where it is not some rows among others that fail.
        if not evidence.get("update") or len(evidence["rows"]) < evidence.get("rows_tried", 0):
            return (*wide, *rows)
        # In a model that could compute these rows when it came, the weights have grown; a wider format would only let
        # them grow on.
        back = ("restore_checkpoint",) if options.can_restore else ()
        return ("lower_learning_rate", *back, *wide, *(rows if len(evidence["rows"]) == 1 else ()))

    def observe(self, facts: StepFacts) -> Evidence | None:
        located = facts.located
        if facts.cause != "range" or located is None or not self._news.passes(facts.step):
            return None
        evidence = {"module": located.module, "largest_before": located.largest_before}
        if located.direction == "weights":
            # Frozen weights are stored once, before the first update.
            return {**evidence, "rows": [], "weights": True, "update": 0}
        return {**evidence, **rows_evidence(facts), "update": facts.done.update}


VERDICT = ForwardOverflow
