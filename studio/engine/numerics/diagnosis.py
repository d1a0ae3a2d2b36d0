"""From the facts of each attempted step to verdicts: what the matter is, why, and what to do. Without torch.

Each step has at most one cause of failure, looked for from the certain to the likely: weights that are not numbers, a
loss that is none, gradients that are none. What can go wrong in steps that succeed is watched beside it. The work and
the memory per step are constant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from studio.config import RunConfig
from studio.engine.numerics.alarm import Alarm
from studio.engine.numerics.remedies import remedies_for
from studio.engine.numerics.scale_watch import WINDOW, ScaleWatch
from studio.engine.numerics.verdicts import VERDICT_CLASSES, Finding, FirstNonFinite, StepFacts, Verdict
from studio.engine.numerics.watches import ExplosionWatch, StallWatch, UnderflowWatch
from studio.engine.numerics.wording import describe
from studio.engine.precision import Precision
from studio.events import spell_non_finite

# What has no certain sign is established by the third time: twice may be the same strange batch, tried again.
ESTABLISHED = 3


def no_checkpoint() -> bool:
    """Of a run that keeps none."""
    return False


class Diagnosis:
    """Reads the steps of one run and says what is the matter with its numbers."""

    def __init__(
        self,
        precision: Precision,
        config: RunConfig,
        *,
        has_bf16: bool,
        can_restore: Callable[[], bool] = no_checkpoint,
    ) -> None:
        """`precision` is what `config.precision` became; `has_bf16`: whether the device computes in bf16.

        `can_restore` returns whether there is a good checkpoint to go back to; it is asked when that matters.
        """
        self._precision = precision
        self._scaling = config.precision.loss_scaling if precision.loss_scaling else "off"
        self._has_bf16 = has_bf16
        self._can_restore = can_restore
        self._pause_after = config.numerics.pause_after
        # A verdict comes before the pause that it explains.
        self._established = max(2, min(ESTABLISHED, self._pause_after))
        self._bad_in_a_row = 0
        self._scale = ScaleWatch(config.precision, self._scaling, self._established)
        self._explosion = ExplosionWatch(config.training.max_grad_norm)
        self._underflow = UnderflowWatch()
        # Stochastic rounding loses as many updates, and makes up for them on average.
        self._can_stall = precision.pure and not config.precision.stochastic_rounding
        self._stall = StallWatch(config.training.learning_rate)
        self._alarms = {name: Alarm(WINDOW) for name in VERDICT_CLASSES}
        self._located: tuple[int, FirstNonFinite] | None = None
        self._undefined: deque[int] = deque(maxlen=self._established)
        self._unlocated: deque[int] = deque(maxlen=self._established)

    @property
    def bad_in_a_row(self) -> int:
        """Steps in a row, up to the last one, that failed and that no smaller loss scale can help."""
        return self._bad_in_a_row

    @property
    def should_pause(self) -> bool:
        """Whether the run has to wait for its user now: after every `numerics.pause_after` bad steps in a row."""
        return self._bad_in_a_row > 0 and self._bad_in_a_row % self._pause_after == 0

    @property
    def next_pauses(self) -> bool:
        """Whether one more bad step makes the run wait."""
        return (self._bad_in_a_row + 1) % self._pause_after == 0

    @property
    def calm(self) -> bool:
        """Whether the last step did not fail beyond the help of a smaller loss scale, nor seems to be an explosion."""
        return self._bad_in_a_row == 0 and not self._explosion.suspects

    def forget(self, name: str) -> None:
        """Take a class of verdict for one that was never seen."""
        self._alarms[name] = Alarm(WINDOW)

    def observe(self, facts: StepFacts) -> list[Verdict]:
        """Take in the next attempted step; return what has become known by it, mostly nothing."""
        helpless = facts.skipped and not (facts.finite_loss and facts.can_back_off)
        self._bad_in_a_row = self._bad_in_a_row + 1 if helpless else 0
        findings = [self._failed(facts)] if facts.skipped else self._applied(facts)
        return [self._verdict(facts.step, finding) for finding in findings if finding is not None]

    def finish(self, step: int) -> list[Verdict]:
        """Return what is still to be told when the run has ended after `step`."""
        finding = self._scale.settled()
        return [self._verdict(step, finding)] if finding else []

    def _applied(self, facts: StepFacts) -> list[Finding | None]:
        fp16 = self._precision.autocast == "fp16"
        return [
            self._scale.applied(facts) if fp16 else None,
            self._underflow.applied(facts, self._scale.overflowed_at) if fp16 else None,
            self._stall.applied(facts) if self._can_stall else None,
            self._explosion.applied(facts),
        ]

    def _failed(self, facts: StepFacts) -> Finding | None:
        if facts.located is not None:
            self._located = (facts.step, facts.located)
        located = facts.located or self._lately_located(facts.step, backward=facts.finite_loss)
        direction = located.direction if located else None
        if direction == "weights" and located and located.exceeds_fp16:
            evidence = {"module": located.module, "largest_before": located.largest_before, "rows": [], "weights": True}
            return self._once(facts, "forward_overflow", evidence)
        if direction == "weights":
            return self._once(facts, "nonfinite_weights", {"update": facts.update, "module": _module(located)})
        if direction == "forward" and located and self._beyond_fp16(located):
            evidence = {"module": located.module, "largest_before": located.largest_before, **_rows(facts)}
            return self._once(facts, "forward_overflow", evidence)
        if not facts.finite_loss:
            return self._nonfinite_loss(facts, located)
        if self._precision.autocast == "fp16":
            return self._scale.overflowed(facts)
        return self._undefined_gradients(facts)

    def _lately_located(self, step: int, *, backward: bool) -> FirstNonFinite | None:
        """Where the last failure of the same kind began: not every failure is looked into."""
        if self._located is None or step - self._located[0] > WINDOW:
            return None
        located = self._located[1]
        return located if (located.direction == "backward") == backward else None

    def _beyond_fp16(self, located: FirstNonFinite) -> bool:
        return self._precision.autocast == "fp16" and located.exceeds_fp16 is not False

    def _nonfinite_loss(self, facts: StepFacts, located: FirstNonFinite | None) -> Finding | None:
        direction = located.direction if located and located.direction != "backward" else "unknown"
        if direction == "unknown" and not _again(self._unlocated, facts.step):
            return None
        evidence = {
            "loss": spell_non_finite(facts.loss),
            "direction": direction,
            "module": _module(located) if direction == "forward" else "",
            "update": facts.update,
            **_rows(facts),
        }
        return self._once(facts, "nonfinite_loss", evidence)

    def _undefined_gradients(self, facts: StepFacts) -> Finding | None:
        """In fp32 and bf16 there is no scale to blame."""
        if not _again(self._undefined, facts.step):
            return None
        return self._once(facts, "exploding_gradients", {"overflows": len(self._undefined)})

    def _once(self, facts: StepFacts, name: str, evidence: dict[str, Any]) -> Finding | None:
        return Finding(name=name, evidence=evidence) if self._alarms[name].seen(facts.step) else None

    def _verdict(self, step: int, finding: Finding) -> Verdict:
        evidence = {"precision": self._precision.name, "scaling": self._scaling, **self._about(step, finding)}
        remedies = remedies_for(finding.name, evidence, has_bf16=self._has_bf16, can_restore=self._can_restore())
        sentence, advice = describe(finding.name, evidence, remedies)
        return Verdict(
            step=step,
            name=finding.name,
            harmful=VERDICT_CLASSES[finding.name].harmful,
            sentence=sentence,
            advice=advice,
            evidence=evidence,
            remedies=remedies,
        )

    def _about(self, step: int, finding: Finding) -> dict[str, Any]:
        """The evidence, with the place where gradients overflow, where that is known, and the format of weights."""
        if finding.name == "bf16_stall":
            return {"format": self._precision.parameters, **finding.evidence}
        if finding.name in ("chronic_overflow", "scale_collapse") or "overflows" in finding.evidence:
            return {"module": _module(self._lately_located(step, backward=True)), **finding.evidence}
        return finding.evidence


def _again(steps: deque[int], step: int) -> bool:
    """Note `step`; return whether as many steps as are kept lie within the last hundred."""
    steps.append(step)
    return len(steps) == steps.maxlen and step - steps[0] <= WINDOW


def _module(located: FirstNonFinite | None) -> str:
    return located.module if located else ""


def _rows(facts: StepFacts) -> dict[str, Any]:
    rows = [{"source": source, "number": number, "tokens": tokens} for source, number, tokens in facts.rows]
    return {"rows": rows, "rows_tried": facts.rows_tried}
