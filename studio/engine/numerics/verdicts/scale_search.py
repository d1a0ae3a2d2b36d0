"""Dynamic scaling at work: the scale fell to where gradients fit. Runs in fp16 begin like this."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import SETTLED
from studio.engine.numerics.verdict import Evidence, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number
from studio.i18n import gettext_noop, tr


class ScaleSearch(Verdict):
    """Told of when a search has ended: after enough good updates, or at the end of the run."""

    name = "scale_search"
    title = gettext_noop("Search of the loss scale")
    harmful = False

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._settled_once = False

    @staticmethod
    def can_happen(run: Watched) -> bool:
        return run.fp16

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        if evidence["at_start"]:
            sentence = tr(
                "The loss scale, a factor that lifts small gradients into the range of fp16, was searched for from "
                "{before} down to {scale}; steps skipped on the way: {count}."
            )
            advice = tr(
                "Nothing to do: runs in fp16 begin like this. The rows were computed again at the smaller scale."
            )
        else:
            sentence = tr(
                "From step {step} on gradients were larger than before, so the loss scale, a factor that lifts small "
                "gradients into the range of fp16, fell from {before} to {scale}; steps skipped: {count}."
            )
            advice = tr("Nothing to do: the scale follows the gradients, and the rows were computed again.")
        sentence = sentence.format(
            count=evidence["skipped"],
            step=evidence["first_step"],
            before=number(evidence["from_scale"]),
            scale=number(evidence["to_scale"]),
        )
        return sentence, advice

    def observe(self, facts: StepFacts) -> Evidence | None:
        settles = not facts.done.skipped and self._run.loss_scale.good_in_a_row == SETTLED
        return self.finish(facts.step) if settles else None

    def finish(self, step: int) -> Evidence | None:
        search, at_start = self._run.loss_scale.search, not self._settled_once
        self._run.loss_scale.search, self._settled_once = None, True
        if search is None or not self._news.passes(step):
            return None
        return {
            "first_step": search.first_step,
            "skipped": search.skipped,
            "from_scale": search.from_scale,
            "to_scale": search.to_scale,
            "at_start": at_start,
        }


VERDICT = ScaleSearch
