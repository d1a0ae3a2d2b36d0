"""The numerics of one run, for the loop: look inside now and then, look into failures, say what is the matter."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.engine.data.batching import MicroBatch
from studio.engine.numerics.diagnosis import Diagnosis
from studio.engine.numerics.flushed import flushed_in_modules
from studio.engine.numerics.locate import Repetition, locate_first
from studio.engine.numerics.lost_updates import LostUpdates
from studio.engine.numerics.recorder import Recorder
from studio.engine.numerics.verdicts import FirstNonFinite, Row, StepFacts, Verdict
from studio.engine.precision.choose import has_bf16
from studio.events import NumericsSampled, StepCompleted
from studio.exponents import Histogram

if TYPE_CHECKING:
    from studio.engine.data.rows import TokenizedRow
    from studio.engine.precision.scaling import LossScaler
    from studio.engine.training.assemble import Trained
    from studio.engine.training.loop import Emit
    from studio.engine.training.update import Updater

log = logging.getLogger(__name__)

# Failures that a smaller scale mends by itself are looked into once in so many steps: a look costs up to a step.
STEPS_BETWEEN_LOOKS = 100


@dataclasses.dataclass(frozen=True)
class RowsOfBatch:
    """A micro-batch with the rows it was made of."""

    batch: MicroBatch
    rows: Sequence[TokenizedRow]


class Watch:
    """Called by the loop before, within and after each attempt.

    Attributes:
        verdicts: what was found harmful so far, the newest last.
    """

    def __init__(
        self, config: RunConfig, trained: Trained, updater: Updater, scaler: LossScaler | None, emit: Emit
    ) -> None:
        precision = updater.precision
        self.verdicts: list[Verdict] = []
        self._trained = trained
        self._updater = updater
        self._scaler = scaler
        self._emit = emit
        self._stochastic = config.precision.stochastic_rounding
        self._recorder = self._make_recorder(config)
        self._diagnosis = Diagnosis(precision, config, has_bf16=has_bf16(updater.device))
        self._pause_after = config.numerics.pause_after
        self._looked_into = -STEPS_BETWEEN_LOOKS
        self._after_skip = False
        self._harmful_at: int | None = None
        self._sample: NumericsSampled | None = None
        self._lost: LostUpdates | None = None

    def looks_at(self, step: int) -> bool:
        """Return whether an attempt is looked at: at the cadence, and after a step that was skipped."""
        return self._recorder is not None and (self._after_skip or self._recorder.wants(step))

    def looking(self, step: int) -> AbstractContextManager[object]:
        """Return the context for the forward and backward pass of the attempt's first, largest micro-batch."""
        self._sample, self._lost = None, None
        if self._recorder is None or not self.looks_at(step):
            return nullcontext()
        return self._recorder.watching(self._scale)

    def see_gradients(self, step: int) -> None:
        """Take the sample of an attempt that is looked at: its gradients are unscaled, and not clipped yet."""
        if self._recorder is not None and self.looks_at(step):
            self._tell(self._recorder.sample(step, self._scale, "cadence"))

    def stepping(self, step: int) -> AbstractContextManager[object]:
        """Return the context for the optimizer's step: where there is no master copy, rounding may undo it."""
        if not self._updater.precision.pure or self._stochastic or not self.looks_at(step):
            return nullcontext()
        self._lost = LostUpdates(self._trained.parameters)
        return self._lost

    def judge(self, done: StepCompleted, batches: Sequence[RowsOfBatch], *, could_back_off: bool) -> None:
        """Draw the conclusions of an attempt, and tell them."""
        self._after_skip = done.skipped
        facts = StepFacts(
            step=done.step,
            update=done.update,
            loss=done.loss,
            grad_norm=done.grad_norm,
            grad_norm_clipped=done.grad_norm_clipped,
            learning_rate=done.learning_rate,
            grad_scale=done.grad_scale,
            next_scale=self._scale,
            skipped=done.skipped,
            can_back_off=could_back_off,
            parameters=Histogram.from_dict(self._sample.parameters) if self._sample else None,
            flowing=Histogram.from_dict(self._sample.gradients) if self._sample else None,
            lost_between_modules=self._lost_between_modules(),
            lost_updates=None if self._lost is None or math.isnan(self._lost.share) else self._lost.share,
        )
        if done.skipped and self._worth_a_look(facts):
            facts = self._look_into(facts, batches)
        self._announce(self._diagnosis.observe(facts))

    def finish(self, step: int) -> None:
        """Tell what is only certain once the run has ended."""
        self._announce(self._diagnosis.finish(step))

    @property
    def hopeless(self) -> bool:
        """Whether so many steps failed in a row, beyond the help of a smaller scale, that the run must not go on."""
        return self._diagnosis.should_pause

    def should_ask(self, step: int) -> bool:
        """Whether somebody who watches should be asked: the run is hopeless, or harm was found some steps ago."""
        due = self._harmful_at is not None and step - self._harmful_at >= self._pause_after
        if due or self.hopeless:
            self._harmful_at = None
            return True
        return False

    @property
    def _scale(self) -> float | None:
        return self._scaler.scale if self._scaler else None

    def _make_recorder(self, config: RunConfig) -> Recorder | None:
        if not config.numerics.record:
            return None
        trained, precision = self._trained, self._updater.precision
        recorder = Recorder(trained.model, trained.base, trained.parameters, precision, config.numerics)
        self._emit(recorder.started())
        return recorder

    def _lost_between_modules(self) -> float:
        sample = self._sample
        return flushed_in_modules(sample.gradient_zeros, sample.gradient_subnormal) if sample else 0.0

    def _worth_a_look(self, facts: StepFacts) -> bool:
        mends_itself = facts.finite_loss and facts.can_back_off
        return not mends_itself or facts.step - self._looked_into >= STEPS_BETWEEN_LOOKS

    def _look_into(self, facts: StepFacts, batches: Sequence[RowsOfBatch]) -> StepFacts:
        """Repeat the micro-batches, at the scale that failed, until the one at fault is found."""
        self._looked_into = facts.step
        repetition = Repetition(
            model=self._trained.model,
            base=self._trained.base,
            loss=self._trained.loss,
            autocast=self._updater.autocast,
            scale=facts.grad_scale,
            supervised=sum(one.batch.supervised for one in batches),
        )
        for one in batches:
            located = locate_first(repetition, one.batch.to(self._updater.device), recorder=self._recorder)
            if located is not None:
                return self._located(facts, located, one.rows)
        log.warning("Step %d failed, but none of its micro-batches does when repeated alone", facts.step)
        return facts

    def _located(self, facts: StepFacts, located: FirstNonFinite, rows: Sequence[TokenizedRow]) -> StepFacts:
        log.warning("Step %d: %s, %s", facts.step, located, ", ".join(f"{row.source}:{row.number}" for row in rows))
        if self._recorder is not None and located.direction != "weights":
            self._tell(self._recorder.sample(facts.step, facts.grad_scale, "skip"))
        places: tuple[Row, ...] = tuple((row.source, row.number, len(row.input_ids)) for row in rows)
        return dataclasses.replace(facts, located=located, rows=places)

    def _tell(self, sample: NumericsSampled) -> None:
        self._sample = sample
        self._emit(sample)

    def _announce(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._emit(verdict.event())
            if verdict.harmful:
                self.verdicts.append(verdict)
                self._harmful_at = verdict.step
                log.warning("%s %s", verdict.sentence, verdict.advice)
