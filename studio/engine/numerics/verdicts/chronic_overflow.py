"""Too many steps are skipped: the scale grows too often, or it is fixed and too large."""

from __future__ import annotations

from studio.engine.numerics.facts import StepFacts
from studio.engine.numerics.loss_scale import CHRONIC_SHARE, WINDOW
from studio.engine.numerics.remedies import CUSTOMARY_SCALING, wider_formats
from studio.engine.numerics.verdict import Evidence, Options, Remedies, Verdict, Watched, Words
from studio.engine.numerics.words import begins_in, number, wider_format
from studio.exponents import FP16
from studio.i18n import gettext_noop, tr
from studio.text.numbers import share_text

# Fewer repetitions than 5 % of the window make no share, however short the run is so far.
FEWEST = round(CHRONIC_SHARE * WINDOW)


class ChronicOverflow(Verdict):
    """The share of the steps that is skipped is too large."""

    name = "chronic_overflow"
    title = gettext_noop("Steps keep overflowing")

    @staticmethod
    def can_happen(run: Watched) -> bool:
        return run.fp16

    @staticmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        sentence = {
            "dynamic": tr(
                "{skipped} of the last {steps} steps were skipped ({share}): each time the loss scale (a factor that "
                "lifts small gradients, last {scale}) grows, gradients exceed what fp16 can hold ({limit})."
            ),
            "static": tr(
                "{skipped} of the last {steps} steps were skipped ({share}): multiplied by the fixed loss scale "
                "{scale} (a factor that lifts small gradients), gradients exceed what fp16 can hold ({limit})."
            ),
            "off": tr(
                "{skipped} of the last {steps} steps were skipped ({share}): gradients exceed what fp16 can hold "
                "({limit}), even at scale {scale}, that is without loss scaling (a factor that lifts small gradients)."
            ),
        }[evidence["scaling"]].format(
            skipped=evidence["skipped"],
            steps=evidence["steps"],
            share=share_text(evidence["skipped"], evidence["steps"]),
            scale=number(evidence["scale"]),
            limit=number(FP16.largest),
        )
        sentence += begins_in(evidence)
        if "use_dynamic_scaling" not in remedies:
            lower = tr("or lower the learning rate") if "lower_learning_rate" in remedies else ""
            return sentence, wider_format(remedies, lower)
        if evidence["scaling"] == "dynamic" and _grows_too_far(evidence):
            return sentence, tr(
                "Use the customary loss scaling: halved when a step overflows, doubled after 2000 good updates."
            )
        if evidence["scaling"] == "dynamic":
            advice = tr("The scale grows after only {interval} good updates; let it wait for 2000, as is customary.")
            return sentence, advice.format(interval=evidence["growth_interval"])
        return sentence, tr("Use dynamic loss scaling, which finds a scale that fits by itself.")

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        # Dynamic scaling with customary settings, unless that is in use, or cannot help because nothing is scaled.
        grows_too_often = evidence["growth_interval"] < CUSTOMARY_SCALING["precision.growth_interval"]
        in_use = evidence["scaling"] == "dynamic" and not grows_too_often and not _grows_too_far(evidence)
        scaling = () if in_use or evidence["scaling"] == "off" else ("use_dynamic_scaling",)
        rate = ("lower_learning_rate",) if evidence["update"] else ()
        return (*scaling, *wider_formats(evidence, options), *rate)

    def observe(self, facts: StepFacts) -> Evidence | None:
        history = self._run.loss_scale
        dynamic = history.scaling == "dynamic"
        if facts.cause != "gradients" or (dynamic and not facts.can_back_off):
            return None
        recent = history.recent
        skipped = sum(skip for skip, _ in recent)
        repetitions = sum(repeated for _, repeated in recent)
        # One growth that fails, however many steps it takes back, is no habit yet.
        twice = not dynamic or (len(history.repeats) == 2 and facts.step - history.repeats[0] < len(recent))
        often = twice and repetitions >= FEWEST and repetitions > CHRONIC_SHARE * len(recent)
        in_a_row = all(skip for skip, _ in list(recent)[-self._run.established :])
        unanswered = not dynamic and in_a_row and history.keeps_overflowing(facts.step)
        if not (often or unanswered) or not self._news.passes(facts.step, skipped / len(recent)):
            return None
        history.search = None
        return {
            "module": facts.backward_module,
            "share": skipped / len(recent),
            "skipped": skipped,
            "steps": len(recent),
            "scale": facts.scale,
            "growth_interval": history.config.growth_interval,
            "growth_factor": history.config.growth_factor,
            "backoff_factor": history.config.backoff_factor,
            "update": facts.done.update,
        }


def _grows_too_far(evidence: Evidence) -> bool:
    """Whether a growth that fails takes several skipped steps back; journals of earlier versions do not tell."""
    factors = [evidence.get(key, CUSTOMARY_SCALING[f"precision.{key}"]) for key in ("growth_factor", "backoff_factor")]
    return bool(factors[0] * factors[1] > 1.0)


VERDICT = ChronicOverflow
