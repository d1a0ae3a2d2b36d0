"""The dynamic scale is at its floor, and gradients overflow all the same."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.remedies import CUSTOMARY_FLOOR, wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import begins_in, number, wider_format
from studio.i18n import gettext_noop, tr


class ScaleCollapse(Verdict):
    """Overflows that no smaller scale could answer repeat."""

    name = "scale_collapse"
    title = gettext_noop("Loss scale at its floor")

    @staticmethod
    def can_happen(run: Watched) -> bool:
        return run.fp16 and run.loss_scale.scaling == "dynamic"

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        sentence = tr(
            "The loss scale, a factor that lifts small gradients into the range of fp16, is at its lowest, {scale}, "
            "and gradients still overflow; steps lost there so far: {count}."
        ).format(scale=number(evidence["scale"]), count=evidence["overflows"])
        lower = tr("or lower the learning rate if this began while training")
        advice = wider_format(remedies, lower if "lower_learning_rate" in remedies else "")
        if "lower_floor" in remedies:
            advice = tr("Lower the floor of the scale, so that it can fall to where the gradients fit.")
        return sentence + begins_in(evidence), advice

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        floor = ("lower_floor",) if evidence["scale"] > CUSTOMARY_FLOOR else ()
        # Before the first update the model is as it came, whatever the rate.
        back = ("restore_checkpoint",) if options.can_restore else ()
        rate = ("lower_learning_rate", *back) if evidence["update"] else ()
        return (*floor, *wider_formats(evidence, options), *rate)

    def observe(self, facts: StepFacts) -> Evidence | None:
        if facts.cause != "gradients" or facts.can_back_off:
            return None
        if not self._run.loss_scale.keeps_overflowing(facts.step) or not self._news.passes(facts.step):
            return None
        return {
            "module": facts.backward_module,
            "scale": facts.scale,
            "overflows": len(self._run.loss_scale.unanswered),
            "update": facts.done.update,
        }


VERDICT = ScaleCollapse
