"""Dynamic scaling at work: a larger scale was tried, proved too large, and was taken back."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import WINDOW
from studio.engine.numerics.throttle import NewsThrottle
from studio.engine.numerics.verdict import Detector, Evidence, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number
from studio.i18n import gettext_noop, tr


class GrowthProbe(Verdict):
    """A larger loss scale was tried."""

    name = "growth_probe"
    title = gettext_noop("A larger loss scale tried")
    harmful = False

    def detector(self, run: Watched) -> Detector | None:
        return GrowthProbeDetector(run) if run.fp16 else None

    def words(self, evidence: Evidence, remedies: Remedies) -> Words:
        sentence = tr(
            "The loss scale, a factor that lifts small gradients into the range of fp16, had been raised to {tried}, "
            "which proved too large; it went back to {scale}, and steps were skipped for that: {count}."
        ).format(tried=number(evidence["tried_scale"]), scale=number(evidence["scale"]), count=evidence["skipped"])
        advice = tr(
            "Nothing to do: after every {interval} good updates a larger scale is tried, to lose fewer gradients."
        )
        return sentence, advice.format(interval=evidence["growth_interval"])


class GrowthProbeDetector(Detector):
    """Tells of growths that were taken back."""

    def __init__(self, run: Watched) -> None:
        self._history = run.loss_scale
        self._probes = 0
        self._news = NewsThrottle(WINDOW)

    def observe(self, facts: StepFacts) -> Evidence | None:
        ended = self._history.ended
        if facts.done.skipped or ended is None or not ended.failed_growth or self._history.often:
            return None
        self._probes += 1
        if not self._news.passes(facts.step):
            return None
        return {
            "tried_scale": ended.from_scale,
            "scale": ended.to_scale,
            "skipped": ended.skipped,
            "growth_interval": self._history.config.growth_interval,
            "probes": self._probes,
        }


VERDICT = GrowthProbe()
