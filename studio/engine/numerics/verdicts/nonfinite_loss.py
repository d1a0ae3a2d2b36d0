"""The loss is nan or infinite, and the range of fp16 is not the reason."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.throttle import Repetition
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import on_rows, rows_evidence
from studio.events import spell_non_finite
from studio.i18n import gettext_noop, tr


class NonfiniteLoss(Verdict):
    """Told at once where it was located, and otherwise when it repeats."""

    name = "nonfinite_loss"
    title = gettext_noop("The loss is not a number")

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._unlocated = Repetition(run.established)

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if evidence["direction"] == "forward":
            sentence = tr(
                "The loss is {loss}, not a number to learn from: the first value that is none came from {module}."
            )
        elif evidence["direction"] == "loss":
            sentence = tr(
                "The loss is {loss}, not a number to learn from, although all that the model computed is finite."
            )
        else:
            sentence = tr("The loss is {loss}, not a number to learn from; where that began is not known.")
        sentence = sentence.format(loss=evidence["loss"], module=evidence["module"]) + on_rows(evidence)
        if evidence["direction"] == "loss":
            advice = tr("Look at these rows for answers that are empty or cut off, and leave them out if need be.")
        elif not evidence["update"]:
            advice = tr("Look at the rows, or take another copy of the model; it was so before the first update.")
        elif "restore_checkpoint" not in remedies:
            advice = tr("Look at the rows; if they are in order, lower the learning rate.")
        else:
            advice = tr("Look at the rows; if they are in order, go back to the last good weights at a lower rate.")
        return sentence, advice

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        rows = ("skip_rows",) if evidence["rows"] else ()
        back = ("restore_checkpoint",) if options.can_restore else ()
        by_training = evidence["update"] and evidence["direction"] != "loss"
        return (*rows, *(("lower_learning_rate", *back) if by_training else ()))

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.cause != "loss":
            return None
        located = facts.located
        direction = located.direction if located and located.direction != "backward" else "unknown"
        if direction == "unknown" and not self._unlocated.established(facts.step):
            return None
        if not self._news.passes(facts.step):
            return None
        return {
            "loss": spell_non_finite(facts.done.loss),
            "direction": direction,
            "module": located.module if located and direction == "forward" else "",
            "update": facts.done.update,
            **rows_evidence(facts),
        }


VERDICT = NonfiniteLoss
