"""What the diagnosis reads: the facts of one attempted step. Without torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from studio.events import EvaluationCompleted, NumericsSampled, StepCompleted

Direction: TypeAlias = Literal["forward", "backward", "loss", "weights"]
# Source file, row number in it from 1, tokens.
Row: TypeAlias = tuple[str, int, int]
# Why a step failed: weights that are not numbers; a forward pass, or stored weights, beyond the range of fp16; a loss
# that is not a number for another reason; gradients that are not numbers behind a loss that is, of single rows or not.
Cause: TypeAlias = Literal["weights", "range", "loss", "rows", "gradients"]
# The largest gradients of different rows lie within a few powers of two of each other. A row that needs a loss scale
# so many times smaller than others is an outlier.
FAR_BELOW = 64.0


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
        done: what the step itself reports.
        next_scale: the loss scale of the next step, None where the loss is not scaled.
        can_back_off: before this step, the scaler could still have lowered the scale.
        located: where the first non-finite value appeared, where that was looked for.
        rows: the rows of the micro-batch that failed, or those of them that fail by themselves.
        rows_tried: of how many, repeated one at a time, these `rows` are; 0 where that was not tried or found none.
        sample: what was recorded of this step, where it was sampled.
        lost_updates: share (0 to 1) of the weights whose update was not zero and yet left them as they were; None
            where that is not known. It matters in pure precisions alone.
        recount: repeats a micro-batch with and without the range of fp16, and returns which share (0 to 1) of the
            gradients that are not zero by nature fp16 makes zero; None where that cannot be told. It costs two passes.
        cause: why the step failed, None where it was applied. The diagnosis adds it.
    """

    done: StepCompleted
    next_scale: float | None = None
    can_back_off: bool = False
    located: FirstNonFinite | None = None
    rows: tuple[Row, ...] = ()
    rows_tried: int = 0
    sample: NumericsSampled | None = None
    lost_updates: float | None = None
    recount: Callable[[], float | None] = lambda: None
    cause: Cause | None = None

    @property
    def step(self) -> int:
        return self.done.step

    @property
    def finite_loss(self) -> bool:
        return math.isfinite(self.done.loss)

    @property
    def scale(self) -> float:
        """The loss scale of this step; 1 where the loss is not scaled."""
        return self.done.grad_scale or 1.0

    @property
    def backward_module(self) -> str:
        """Where gradients stop being numbers, empty where that is not known."""
        return self.located.module if self.located and self.located.direction == "backward" else ""


@dataclass(frozen=True, kw_only=True)
class ValidationFacts:
    """What is known about one measurement on the held-out rows.

    Attributes:
        done: what the measurement itself reports.
        located: where the first non-finite value appeared, where there is one and it was looked for.
        rows: the rows to blame; none where all held-out rows fail, so that none of them is special.
        rows_tried: of how many, repeated one at a time, these `rows` are; 0 where that was not tried.
    """

    done: EvaluationCompleted
    located: FirstNonFinite | None = None
    rows: tuple[Row, ...] = ()
    rows_tried: int = 0
