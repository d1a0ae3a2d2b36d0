"""The loss has risen far above what it was, and stays there, with gradients of ordinary size."""

from __future__ import annotations

import statistics
from collections import deque

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_history import STEPS
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import number
from studio.i18n import gettext_noop, tr


class Divergence(Verdict):
    """Losses of late are far above those of before, at an update or at the end of the run."""

    name = "divergence"
    title = gettext_noop("The loss has risen")

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._losses = run.losses
        self._norms: deque[float] = deque(maxlen=STEPS)
        self._rate = 0.0
        self._failing = False

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        sentence = tr(
            "The loss has risen to about {loss}, from {before}, and stays there: the updates make the model worse "
            "(it diverges). The learning rate is {rate:g}."
        ).format(
            loss=number(evidence["loss"], exact=False),
            before=number(evidence["loss_before"], exact=False),
            rate=evidence["learning_rate"],
        )
        if "restore_checkpoint" in remedies:
            return sentence, tr("Go back to the last good checkpoint, and lower the learning rate.")
        return sentence, tr("Start again at a lower learning rate; a tenth of it is the usual next try.")

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        return ("lower_learning_rate", *(("restore_checkpoint",) if options.can_restore else ()))

    @property
    def suspects(self) -> bool:
        return self._losses.last_is_high

    def observe(self, facts: StepFacts) -> Evidence | None:
        self._failing = facts.done.skipped
        if facts.done.skipped:
            return None
        self._norms.append(facts.done.grad_norm)
        self._rate = max(self._rate, facts.done.learning_rate)
        return self._told(facts.step) if self._losses.risen else None

    def finish(self, step: int) -> Evidence | None:
        # Steps that failed to the end have a verdict of their own.
        return self._told(step) if self._losses.ended_high and not self._failing else None

    def _told(self, step: int) -> Evidence | None:
        if self._losses.told_by not in ("", self.name) or not self._news.passes(step):
            return None
        self._losses.told_by = self.name
        return {
            "loss": self._losses.of_late,
            "loss_before": self._losses.level,
            "grad_norm": statistics.median(self._norms),
            "learning_rate": self._rate,
        }


VERDICT = Divergence
