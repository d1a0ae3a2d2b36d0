"""Runs without a model: the real loss scaler over gradients whose size is given, and what the diagnosis says of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.config import RunConfig
from studio.config.run import parse_config
from studio.engine.numerics.diagnosis import Diagnosis
from studio.engine.numerics.facts import FirstNonFinite, Row, StepFacts, ValidationFacts
from studio.engine.precision import PRECISIONS
from studio.engine.precision.scaling import make_scaler
from studio.engine.training.state import Position
from studio.engine.training.trainer import decide
from studio.events import EvaluationCompleted, NumericsSampled, OverflowDiagnosed, StepCompleted
from studio.exponents import Histogram

FP16_LARGEST = 65504.0
DAMAGED = FirstNonFinite(module="model.layers.0.mlp", direction="weights", largest_before=0.5)


def run_config(
    precision: str = "fp16-mixed", *, numerics: Any = None, training: Any = None, **scaling: Any
) -> RunConfig:
    return parse_config(
        {
            "model": {"path": "model"},
            "data": {"sources": [{"path": "rows.jsonl"}]},
            "precision": {"name": precision, **scaling},
            "numerics": numerics or {},
            "training": {"learning_rate": 1e-4, **(training or {})},
        }
    )


@dataclass
class Step:
    """What happens in one attempt, at whatever scale.

    Attributes:
        largest: the largest gradient on its way through the network, unscaled: fp16 overflows where it and the scale
            give more than 65504, other formats where it is infinite.
        small: gradients of the trained parameters, float64, before anything is lost; None in a step without a sample.
        flowing: gradients between the layers, likewise.
    """

    largest: float = 0.05
    loss: float = 2.0
    grad_norm: float = 0.7
    small: np.ndarray | None = None
    flowing: np.ndarray | None = None
    located: FirstNonFinite | None = None
    rows: tuple[Row, ...] = ()
    rows_tried: int = 0
    lost_updates: float | None = None
    learning_rate: float = 1e-4


@dataclass
class Outcome:
    verdicts: list[OverflowDiagnosed] = field(default_factory=list)
    paused_at: int | None = None
    skipped: int = 0
    updates: int = 0

    @property
    def names(self) -> list[str]:
        return [verdict.verdict for verdict in self.verdicts]

    @property
    def harmful(self) -> list[str]:
        return [verdict.verdict for verdict in self.verdicts if verdict.harmful]


def play(
    config: RunConfig,
    step_at: Callable[[int], Step],
    attempts: int,
    *,
    has_bf16: bool = True,
    pauses: bool = True,
    can_restore: bool = True,
) -> Outcome:
    """Attempt steps as the loop does (an overflow is tried again on the same rows); `step_at` is given the batch.

    Half-way the run is cut off, and goes on with what its checkpoint remembers.
    """
    precision = PRECISIONS.get(config.precision.name)
    scaler = make_scaler(precision, config.precision)
    diagnosis = Diagnosis(precision, config, has_bf16=has_bf16, can_restore=lambda: can_restore)
    outcome, position = Outcome(), Position()
    for number in range(1, attempts + 1):
        if number == attempts // 2:
            kept = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))
            diagnosis = Diagnosis(precision, config, has_bf16=has_bf16, can_restore=lambda: can_restore)
            diagnosis.restore(kept)
        now = step_at(position.batch)
        scale = scaler.scale if scaler else None
        fits = now.largest * (scale or 1.0) <= FP16_LARGEST if precision.autocast == "fp16" else True
        norm = now.grad_norm if fits and math.isfinite(now.largest) else math.inf
        attempt = decide(now.loss, norm, scaler, config.training.max_grad_norm)
        position.advance(skipped=attempt.skipped, retry=attempt.retry)
        outcome.updates = position.update
        outcome.skipped += attempt.skipped
        outcome.verdicts += diagnosis.observe(
            StepFacts(
                done=completed(
                    step=number,
                    update=outcome.updates,
                    loss=now.loss,
                    grad_norm=math.inf if attempt.skipped else now.grad_norm,
                    learning_rate=now.learning_rate,
                    skipped=attempt.skipped,
                    grad_scale=scale,
                ),
                next_scale=scaler.scale if scaler else None,
                can_back_off=attempt.could_back_off,
                located=now.located if attempt.skipped else None,
                rows=now.rows,
                rows_tried=now.rows_tried,
                sample=_sample(number, scale, now),
                lost_updates=now.lost_updates,
            )
        )
        if pauses and diagnosis.should_pause:
            outcome.paused_at = number
            return outcome
    outcome.verdicts += diagnosis.finish(attempts)
    return outcome


def validate(config: RunConfig, loss: float = math.nan, then: Step | None = None, **located: Any) -> Outcome:
    """A measurement on held-out rows, and the step that follows it, which goes well if not told otherwise."""
    diagnosis = Diagnosis(PRECISIONS.get(config.precision.name), config, has_bf16=True)
    measured = EvaluationCompleted(step=0, update=0, loss=loss, rows=4, supervised_tokens=32, seconds=0.1)
    diagnosis.validated(ValidationFacts(done=measured, **located))
    now = then or Step()
    done = completed(step=1, update=1, loss=now.loss, skipped=not math.isfinite(now.loss))
    facts = StepFacts(done=done, located=now.located)
    return Outcome(verdicts=[*diagnosis.observe(facts), *diagnosis.finish(1)])


def completed(**values: Any) -> StepCompleted:
    """An attempted step; what does not matter to the diagnosis is left at something."""
    common = {"update": 0, "loss": 2.0, "grad_norm": 0.5, "learning_rate": 1e-4, "grad_scale": None, "skipped": False}
    others = {"epoch": 0.0, "tokens": 64, "supervised_tokens": 32, "micro_batches": 1, "seconds": 0.1}
    return StepCompleted(**common | others | values)


def _sample(step: int, scale: float | None, now: Step) -> NumericsSampled | None:
    if now.small is None:
        return None
    flowing = np.empty(0) if now.flowing is None else now.flowing
    return sampled(step, scale, *(counted(rounded(values, scale or 1.0)) for values in (now.small, flowing)))


def sampled(step: int, scale: float | None, parameters: Histogram, flowing: Histogram) -> NumericsSampled:
    """A sample of which the histograms alone are given."""
    columns = ("largest", "zeros", "subnormal", "non_finite")
    return NumericsSampled(
        step=step,
        grad_scale=scale,
        because="cadence",
        **{f"{what}_{column}": [] for what in ("activation", "gradient") for column in columns},
        parameters=parameters.to_dict(),
        gradients=flowing.to_dict(),
    )


def rounded(values: np.ndarray, scale: float) -> np.ndarray:
    """What fp16 makes of values under a loss scale, unscaled again: the flush to zero is numpy's own."""
    with np.errstate(over="ignore"):
        return (values * scale).astype(np.float16).astype(np.float64) / scale


def counted(values: np.ndarray) -> Histogram:
    """Count values into a histogram of exponents."""
    finite = np.abs(values[np.isfinite(values)])
    exponents = np.floor(np.log2(finite[finite > 0])).astype(int)
    first = int(exponents.min()) if len(exponents) else 0
    return Histogram(
        first=first,
        counts=tuple(int(count) for count in np.bincount(exponents - first)),
        zeros=int((finite == 0).sum()),
        non_finite=int((~np.isfinite(values)).sum()),
    )
