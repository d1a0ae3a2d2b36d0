"""Dynamic scaling at work: a larger scale was tried, proved too large, and was taken back."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.verdict import Evidence, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number
from studio.i18n import gettext_noop, tr


class GrowthProbe(Verdict):
    """The scale grew, and the growth was taken back."""

    name = "growth_probe"
    title = gettext_noop("A larger loss scale tried")
    harmful = False

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._probes = 0

    @staticmethod
    def can_happen(run: Watched) -> bool:
        return run.fp16

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        sentence = tr(
            "The loss scale, a factor that lifts small gradients into the range of fp16, had been raised to {tried}, "
            "which proved too large; it went back to {scale}, and steps were skipped for that: {count}."
        ).format(tried=number(evidence["tried_scale"]), scale=number(evidence["scale"]), count=evidence["skipped"])
        advice = tr(
            "Nothing to do: after every {interval} good updates a larger scale is tried, to lose fewer gradients."
        )
        return sentence, advice.format(interval=evidence["growth_interval"])

    def observe(self, facts: StepFacts) -> Evidence | None:
        history = self._run.loss_scale
        ended = history.ended
        if facts.done.skipped or ended is None or not ended.failed_growth or history.often:
            return None
        self._probes += 1
        if not self._news.passes(facts.step):
            return None
        return {
            "tried_scale": ended.from_scale,
            "scale": ended.to_scale,
            "skipped": ended.skipped,
            "growth_interval": history.config.growth_interval,
            "probes": self._probes,
        }


VERDICT = GrowthProbe
