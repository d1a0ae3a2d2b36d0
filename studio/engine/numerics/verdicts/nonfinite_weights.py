"""Weights of the model are nan or infinite, as they came or since they were trained."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Words
from studio.i18n import gettext_noop, tr


class NonfiniteWeights(Verdict):
    """Told at once where it was located."""

    name = "nonfinite_weights"
    title = gettext_noop("Damaged weights")

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if not evidence["update"]:
            sentence = tr("The model came with weights that are not numbers (nan or infinity){where}.")
            advice = tr("Download the model again, or take another copy; no training can mend it.")
        else:
            sentence = tr("Weights of the model are no longer numbers (nan or infinity){where}, after update {update}.")
            advice = (
                tr("Go back to the last good checkpoint, and lower the learning rate.")
                if "restore_checkpoint" in remedies
                else tr("Start again, at a lower learning rate; there is no good checkpoint to go back to.")
            )
        where = tr(", first in {module}").format(module=evidence["module"]) if evidence["module"] else ""
        return sentence.format(where=where, update=evidence["update"]), advice

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        # With damaged weights no rate helps; with a checkpoint, the run goes on from there.
        helps = evidence["update"] and options.can_restore
        return ("restore_checkpoint", "lower_learning_rate") if helps else ()

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.cause != "weights" or not self._news.passes(facts.step):
            return None
        return {"update": facts.done.update, "module": facts.located.module if facts.located else ""}


VERDICT = NonfiniteWeights
