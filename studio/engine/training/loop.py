"""The loop: attempt after attempt until the planned updates are applied, the user stops it, or it must give up."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.engine.control import Control, Progress
from studio.engine.data.batching import MicroBatch, collate, group_by_length
from studio.engine.precision.scaling import LossScaler
from studio.engine.seed import seed_step
from studio.engine.training.evaluate import evaluate
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.schedule import learning_rate
from studio.engine.training.update import Attempt, Updater
from studio.errors import Cancelled, TrainingError
from studio.events import EvaluationCompleted, ProgressReported, RunEvent, RunPaused, RunResumed, StepCompleted
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.data.prepare import PreparedData
    from studio.engine.data.rows import TokenizedRow

log = logging.getLogger(__name__)

# After so many bad steps in a row nothing is to be hoped for: the weights are still the last good ones.
BAD_STEPS_IN_A_ROW = 5
AUTOMATIC_EVALUATIONS = 10

Emit = Callable[[RunEvent | ProgressReported], None]


@dataclass
class Position:
    """How far a run has come: `step` attempts, `update` applied updates, `batch` batches taken from the data."""

    step: int = 0
    update: int = 0
    batch: int = 0
    bad_in_a_row: int = 0


class Loop:
    """Trains one prepared model on prepared data."""

    def __init__(
        self,
        config: RunConfig,
        data: PreparedData,
        loss: SupervisedLoss,
        updater: Updater,
        scaler: LossScaler | None,
        control: Control,
        emit: Emit,
        *,
        pad_id: int,
        token_budget: int,
    ) -> None:
        self.position = Position()
        self.planned = planned_updates(config, data.order.rows_per_epoch)
        self._config = config
        self._data = data
        self._loss = loss
        self._updater = updater
        self._scaler = scaler
        self._control = control
        self._emit = emit
        self._pad_id = pad_id
        self._token_budget = token_budget
        self._evaluated_at = -1

    def run(self) -> str:
        """Train to the end and return the status, finished or stopped.

        Raises:
            TrainingError: the numbers stay non-finite whatever is tried; the weights are the last good ones.
        """
        try:
            self._evaluate()
            while self.position.update < self.planned:
                self._attempt()
                if self.position.update % self._evaluation_interval == 0:
                    self._evaluate()
            self._evaluate()
        except Cancelled:
            return "stopped"
        return "finished"

    @property
    def _evaluation_interval(self) -> int:
        return self._config.training.evaluate_every or max(1, math.ceil(self.planned / AUTOMATIC_EVALUATIONS))

    def _attempt(self) -> None:
        started = time.monotonic()
        self.position.step += 1
        seed_step(self._config.training.seed, self.position.step)
        rows = self._next_rows()
        groups = group_by_length([len(row.input_ids) for row in rows], self._token_budget)
        batches = [collate([rows[i] for i in group], self._pad_id) for group in groups]
        supervised = sum(batch.supervised for batch in batches)
        scale = self._scaler.scale if self._scaler else None
        rate = learning_rate(self._config.training, self.position.update, self.planned)
        can_retry = self._scaler is not None and self._scaler.can_back_off

        loss = self._updater.accumulate(self._controlled(batches), supervised)
        attempt = self._updater.apply(loss, rate)

        self._advance(attempt, can_retry)
        self._emit(
            StepCompleted(
                step=self.position.step,
                update=self.position.update,
                epoch=self.position.batch / updates_per_epoch(self._config, self._data.order.rows_per_epoch),
                loss=attempt.loss,
                learning_rate=rate,
                grad_norm=attempt.grad_norm,
                grad_scale=scale,
                skipped=not attempt.finite,
                tokens=sum(batch.tokens for batch in batches),
                supervised_tokens=supervised,
                micro_batches=len(batches),
                seconds=time.monotonic() - started,
            )
        )
        if self.position.bad_in_a_row >= BAD_STEPS_IN_A_ROW:
            raise TrainingError(self._giving_up(attempt, rows))

    def _advance(self, attempt: Attempt, can_retry: bool) -> None:
        """Count the attempt. An overflow of scaled gradients is tried again on the same rows at a smaller scale."""
        if attempt.finite:
            self.position.update += 1
            self.position.batch += 1
            self.position.bad_in_a_row = 0
        elif math.isfinite(attempt.loss) and can_retry:
            log.info("Step %d overflowed and is skipped; the loss scale is lowered", self.position.step)
        else:
            self.position.batch += 1
            self.position.bad_in_a_row += 1
            log.warning("Step %d is skipped: loss %s, gradient norm %s", self.position.step, *vars(attempt).values())

    def _next_rows(self) -> list[TokenizedRow]:
        """The rows of the present batch: a pure function of its number, so that a retry and a resume see the same."""
        order = self._data.order
        epoch, number = divmod(self.position.batch, updates_per_epoch(self._config, order.rows_per_epoch))
        size = self._config.training.batch_size
        return [self._data.train[int(index)] for index in order.epoch(epoch)[number * size : (number + 1) * size]]

    def _controlled(self, batches: list[MicroBatch]) -> Iterator[MicroBatch]:
        """Look at the user's requests once per micro-batch. Raises `Cancelled`; the weights stay as they are then."""
        for batch in batches:
            self._wait_while_paused()
            if self._control.stop_requested:
                raise Cancelled(tr("Stopped."))
            yield batch.to(self._updater.device)

    def _wait_while_paused(self) -> None:
        if self._control.pause_requested:
            self._emit(RunPaused(step=self.position.step - 1))
            self._control.wait_while_paused()
            self._emit(RunResumed(step=self.position.step - 1))

    def _evaluate(self) -> None:
        if len(self._data.validation) == 0 or self._evaluated_at == self.position.update:
            return
        started = time.monotonic()
        progress = progress_events(self._control, self._emit)
        result = evaluate(self._data.validation, self._loss, self._updater, self._pad_id, self._token_budget, progress)
        self._evaluated_at = self.position.update
        self._emit(
            EvaluationCompleted(
                step=self.position.step,
                update=self.position.update,
                loss=result.loss,
                rows=result.rows,
                supervised_tokens=result.supervised_tokens,
                seconds=time.monotonic() - started,
            )
        )

    def _giving_up(self, attempt: Attempt, rows: list[TokenizedRow]) -> str:
        where = ", ".join(f"{row.source}:{row.number}" for row in rows[:4])
        if not math.isfinite(attempt.loss):
            return tr(
                "Training stopped at step {step}: the loss was not a finite number {count} times in a row, last on the "
                "rows {rows}; look at the data, or take fp32 or bf16, or a smaller learning rate. "
                "The weights are those of the last good update, {update}."
            ).format(step=self.position.step, count=BAD_STEPS_IN_A_ROW, rows=where, update=self.position.update)
        return tr(
            "Training stopped at step {step}: gradients overflowed {count} times in a row at the loss scale {scale:g}; "
            "take dynamic loss scaling, bf16 or fp32. The weights are those of the last good update, {update}."
        ).format(
            step=self.position.step,
            count=BAD_STEPS_IN_A_ROW,
            scale=self._scaler.scale if self._scaler else 1.0,
            update=self.position.update,
        )


def progress_events(control: Control, emit: Emit) -> Progress:
    """Return a progress function that emits events, and raises `Cancelled` once a stop was requested."""
    return control.reporting(lambda stage, done, total: emit(ProgressReported(stage=stage, done=done, total=total)))


def updates_per_epoch(config: RunConfig, rows: int) -> int:
    """Number of updates in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / config.training.batch_size)


def planned_updates(config: RunConfig, rows: int) -> int:
    """Number of updates that a run will apply."""
    return config.training.max_steps or math.ceil(config.training.epochs * updates_per_epoch(config, rows))
