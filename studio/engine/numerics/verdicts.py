"""What the diagnosis reads and what it says: the facts of a step, and the classes of verdict. Without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from studio.events import OverflowDiagnosed
from studio.exponents import Histogram
from studio.i18n import gettext_noop

Direction: TypeAlias = Literal["forward", "backward", "loss", "weights"]
# Source file, row number in it from 1, tokens.
Row: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class FirstNonFinite:
    """Where in a micro-batch the first nan or infinity appears.

    Attributes:
        module: dotted name of the module; empty where there is none (the loss itself).
        direction: in its output (forward), in the gradient (backward), in the loss after a finite forward pass, or
            in the weights before anything was computed.
        largest_before: largest finite absolute value that was seen up to there, in the same direction.
        exceeds_fp16: whether that module's result is finite when it is computed again in fp32, so that the range of
            16 bits alone is to blame (for weights: whether they are stored in fp16, and too large for it rather than
            damaged); None when that was not tried.
    """

    module: str
    direction: Direction
    largest_before: float
    exceeds_fp16: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What is known about one attempted step.

    Attributes:
        step: number of the attempt, from 1; `update`: updates applied so far, this one included if it was.
        loss: mean per supervised token, unfiltered.
        grad_norm: unscaled and before clipping; `grad_norm_clipped`: after it.
        learning_rate: the rate of this step.
        grad_scale: the loss scale of this step, None where the loss is not scaled; `next_scale`: of the next step.
        skipped: the step was not applied, because its loss or its gradients are not finite.
        can_back_off: before this step, the scaler could still have lowered the scale.
        located: where the first non-finite value appeared, where that was looked for.
        rows: the rows of the micro-batch that failed, or those of them that fail by themselves.
        rows_tried: of how many, repeated one at a time, these `rows` are; 0 where that was not tried or found none.
        parameters: the trained parameters' gradients, unscaled, where this step was sampled.
        flowing: the gradients that flow between the layers in the format of the products, unscaled, without those of
            the logits: most of these belong to words that are all but impossible, and are next to zero by nature.
        lost_between_modules: share (0 to 1) of the flowing gradients that was flushed to zero, judged module by module.
        lost_updates: share (0 to 1) of the weights whose update was not zero and yet left them as they were; None
            or nan where that is not known. It matters in pure precisions alone.
    """

    step: int
    update: int
    loss: float
    grad_norm: float
    learning_rate: float
    skipped: bool
    grad_norm_clipped: float | None = None
    grad_scale: float | None = None
    next_scale: float | None = None
    can_back_off: bool = False
    located: FirstNonFinite | None = None
    rows: tuple[Row, ...] = ()
    rows_tried: int = 0
    parameters: Histogram | None = None
    flowing: Histogram | None = None
    lost_between_modules: float = 0.0
    lost_updates: float | None = None

    @property
    def finite_loss(self) -> bool:
        return math.isfinite(self.loss)


@dataclass(frozen=True, kw_only=True)
class VerdictClass:
    """A kind of verdict. A harmful one alarms, and counts towards the pause of a run; a benign one only explains."""

    name: str
    title: str
    harmful: bool


VERDICT_CLASSES = {
    entry.name: entry
    for entry in (
        VerdictClass(name="scale_search", title=gettext_noop("Search of the loss scale"), harmful=False),
        VerdictClass(name="growth_probe", title=gettext_noop("A larger loss scale tried"), harmful=False),
        VerdictClass(name="chronic_overflow", title=gettext_noop("Steps keep overflowing"), harmful=True),
        VerdictClass(name="scale_collapse", title=gettext_noop("Loss scale at its floor"), harmful=True),
        VerdictClass(name="forward_overflow", title=gettext_noop("Activations beyond fp16"), harmful=True),
        VerdictClass(name="underflow", title=gettext_noop("Gradients lost to zero"), harmful=True),
        VerdictClass(name="bf16_stall", title=gettext_noop("Updates lost to rounding"), harmful=True),
        VerdictClass(name="nonfinite_weights", title=gettext_noop("Damaged weights"), harmful=True),
        VerdictClass(name="nonfinite_loss", title=gettext_noop("The loss is not a number"), harmful=True),
        VerdictClass(name="exploding_gradients", title=gettext_noop("Exploding gradients"), harmful=True),
    )
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A class of verdict that applies, and the numbers it rests on (JSON values)."""

    name: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A finding in words, with what can be done about it, the best first."""

    step: int
    name: str
    harmful: bool
    sentence: str
    advice: str
    evidence: dict[str, Any]
    remedies: tuple[str, ...]

    def event(self) -> OverflowDiagnosed:
        """Return it as the event that travels."""
        return OverflowDiagnosed(
            step=self.step,
            verdict=self.name,
            harmful=self.harmful,
            sentence=self.sentence,
            advice=self.advice,
            evidence=self.evidence,
            remedies=list(self.remedies),
        )
