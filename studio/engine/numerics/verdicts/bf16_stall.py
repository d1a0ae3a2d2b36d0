"""Updates that are lost to rounding, because the weights themselves have 16 bits."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.remedies import widest_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import wider_format
from studio.i18n import gettext_noop, tr
from studio.text.numbers import share_text

# bf16 keeps 8 bits: an update below 2⁻⁹ of its weight changes nothing. A weight that misses every other update is
# not trained at the rate that was asked for.
STALL_SHARE = 0.5
STALL_OBSERVATIONS = 3
# Updates are small by intention while the rate warms up and when it has decayed.
FULL_RATE = 0.5
# Observations without a stall after which another one is news.
QUIET_OBSERVATIONS = 5


class Bf16Stall(Verdict):
    """An update leaves most weights as they were, again and again."""

    name = "bf16_stall"
    title = gettext_noop("Updates lost to rounding")
    quiet = QUIET_OBSERVATIONS

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._full_rate = FULL_RATE * run.config.training.learning_rate
        self._in_a_row = 0
        self._observations = 0

    @staticmethod
    def can_happen(run: Watched) -> bool:
        # Stochastic rounding loses as many updates, and makes up for them on average.
        return run.precision.pure and not run.config.precision.stochastic_rounding

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        sentence = tr(
            "{share} of the weights stood still in an update that was meant to move them: {format} has only {bits} "
            "bits of detail, and the steps at the learning rate {rate:g} are rounded away."
        ).format(
            share=share_text(evidence["share"], 1.0),
            format=evidence["format"],
            bits=8 if evidence["format"] == "bf16" else 11,
            rate=evidence["learning_rate"],
        )
        if "stochastic_rounding" in remedies:
            advice = tr(
                "Use stochastic rounding (small updates count by chance), or bf16-mixed, which keeps an fp32 copy of "
                "the weights for them."
            )
        elif "use_bf16" in remedies:
            advice = tr("Use bf16-mixed, which keeps an fp32 copy of the weights for small updates.")
        else:
            advice = wider_format(remedies)
        return sentence, advice

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        rounding = ("stochastic_rounding",) if evidence["precision"] == "bf16-pure" else ()
        return (*rounding, *widest_formats(options))

    def observe(self, facts: StepFacts) -> Evidence | None:
        lost, rate = facts.lost_updates, facts.done.learning_rate
        if facts.done.skipped or lost is None or rate < self._full_rate:
            return None
        self._observations += 1
        self._in_a_row = self._in_a_row + 1 if lost >= STALL_SHARE else 0
        if self._in_a_row < STALL_OBSERVATIONS or not self._news.passes(self._observations, lost):
            return None
        return {"format": self._run.precision.parameters, "share": lost, "learning_rate": rate}


VERDICT = Bf16Stall
