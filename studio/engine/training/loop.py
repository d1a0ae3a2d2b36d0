"""The loop: attempt after attempt until the planned updates are applied, the user stops it, or it must give up."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.engine.control import Control, Progress
from studio.engine.data.batching import MicroBatch, collate, group_by_length
from studio.engine.numerics.verdicts import verdict_words
from studio.engine.precision.scaling import LossScaler
from studio.engine.seed import seed_step
from studio.engine.training.evaluate import evaluate
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.monitor import NumericsMonitor, RowsOfBatch
from studio.engine.training.schedule import learning_rate
from studio.engine.training.update import Updater
from studio.errors import Cancelled, TrainingError
from studio.events import (
    EvaluationCompleted,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunPaused,
    RunResumed,
    StepCompleted,
)
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.data.prepare import PreparedData
    from studio.engine.data.rows import TokenizedRow

log = logging.getLogger(__name__)

AUTOMATIC_EVALUATIONS = 10

Emit = Callable[[RunEvent | ProgressReported], None]


@dataclass
class Position:
    """How far a run has come: `step` attempts, `update` applied updates, `batch` batches taken from the data."""

    step: int = 0
    update: int = 0
    batch: int = 0


class RemedyChosen(Exception):
    """The user chose a remedy that changes the configuration; the run goes on from here with another loop."""

    def __init__(self, name: str, verdict: OverflowDiagnosed) -> None:
        super().__init__(name)
        self.name = name
        self.verdict = verdict


class Loop:
    """Trains one prepared model on prepared data, from a position on.

    Attributes:
        position: how far the run has come.
        planned: number of updates that will be applied.
        left_out: rows that the user took out, by file and number.
    """

    def __init__(
        self,
        config: RunConfig,
        data: PreparedData,
        loss: SupervisedLoss,
        updater: Updater,
        scaler: LossScaler | None,
        monitor: NumericsMonitor,
        control: Control,
        emit: Emit,
        keep: Callable[[Position], None],
        *,
        position: Position,
        pad_id: int,
        token_budget: int,
    ) -> None:
        """`keep` is called after every update that leaves nothing to worry about: a checkpoint may be saved then."""
        self.position = position
        self.planned = planned_updates(config, data.order.rows_per_epoch)
        self._config = config
        self._data = data
        self._loss = loss
        self._updater = updater
        self._scaler = scaler
        self._monitor = monitor
        self._control = control
        self._emit = emit
        self._keep = keep
        self.left_out: set[tuple[str, int]] = set()
        self._pad_id = pad_id
        self._token_budget = token_budget
        self._evaluated_at = -1
        self._passed_over = 0

    def run(self) -> str:
        """Train to the end and return the status, finished or stopped.

        Raises:
            TrainingError: the numbers stay non-finite whatever is tried; the weights are the last good ones.
            RemedyChosen: the user wants to go on with other settings.
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
        finally:
            self._monitor.finish(self.position.step)
        return "finished"

    @property
    def verdicts(self) -> Sequence[OverflowDiagnosed]:
        """What was found harmful so far."""
        return self._monitor.verdicts

    @property
    def _evaluation_interval(self) -> int:
        return self._config.training.evaluate_every or max(1, math.ceil(self.planned / AUTOMATIC_EVALUATIONS))

    def _attempt(self) -> None:
        self._take_remedy()
        rows = self._next_rows()
        if not rows:
            self._pass_over()
            return
        self._passed_over = 0
        self.position.step += 1
        step = self.position.step
        seed_step(self._config.training.seed, step)
        lengths = [len(row.input_ids) + self._loss.virtual_tokens for row in rows]
        groups = group_by_length(lengths, self._token_budget)
        batches = [
            RowsOfBatch(collate([rows[i] for i in group], self._pad_id), [rows[i] for i in group]) for group in groups
        ]
        could_back_off = self._scaler is not None and self._scaler.can_back_off
        done = self._one_update(step, batches)
        self._advance(done, could_back_off)
        done = dataclasses.replace(done, update=self.position.update, epoch=self._epoch)
        self._emit(done)
        self._monitor.judge(done, batches, could_back_off=could_back_off)
        self._answer_trouble(done, rows)
        if not done.skipped and self._monitor.calm:
            self._keep(self.position)

    def _pass_over(self) -> None:
        """Go on to the next batch, because all rows of this one were left out.

        Raises:
            TrainingError: no row is left at all.
        """
        self._wait_while_paused(self.position.step)
        self.position.batch += 1
        self._passed_over += 1
        # Wherever they begin, so many batches contain a whole epoch; one epoch's worth may lie across two.
        if self._passed_over >= 2 * updates_per_epoch(self._config, self._data.order.rows_per_epoch) - 1:
            raise TrainingError(tr("All rows to learn from were left out; mend the data, and start a new run."))

    def _one_update(self, step: int, batches: Sequence[RowsOfBatch]) -> StepCompleted:
        started = time.monotonic()
        supervised = sum(one.batch.supervised for one in batches)
        scale = self._scaler.scale if self._scaler else None
        rate = learning_rate(self._config.training, self.position.update, self.planned)
        loss = self._updater.accumulate(self._controlled(batches), supervised, self._monitor.looking(step))
        attempt = self._updater.apply(
            loss, rate, lambda: self._monitor.see_gradients(step), self._monitor.stepping(step)
        )
        return StepCompleted(
            step=step,
            update=self.position.update,
            epoch=self._epoch,
            loss=attempt.loss,
            learning_rate=rate,
            grad_norm=attempt.grad_norm,
            grad_norm_clipped=attempt.grad_norm_clipped,
            grad_scale=scale,
            skipped=not attempt.finite,
            tokens=sum(one.batch.tokens for one in batches),
            supervised_tokens=supervised,
            micro_batches=len(batches),
            seconds=time.monotonic() - started,
        )

    def _advance(self, done: StepCompleted, could_back_off: bool) -> None:
        """Count the attempt. An overflow of scaled gradients is tried again on the same rows at a smaller scale."""
        if not done.skipped:
            self.position.update += 1
            self.position.batch += 1
        elif math.isfinite(done.loss) and could_back_off:
            log.info("Step %d overflowed and is skipped; the loss scale is lowered", done.step)
        else:
            self.position.batch += 1
            log.warning("Step %d is skipped: loss %s, gradient norm %s", done.step, done.loss, done.grad_norm)

    @property
    def _epoch(self) -> float:
        return self.position.batch / updates_per_epoch(self._config, self._data.order.rows_per_epoch)

    def _answer_trouble(self, done: StepCompleted, rows: list[TokenizedRow]) -> None:
        """Wait for the user where one watches; otherwise end a run that cannot go on."""
        if self._control.attended:
            if self._monitor.should_ask(done.step):
                name = self._monitor.newest.verdict if self._monitor.newest else "unknown"
                self._control.pause()
                self._wait_while_paused(done.step, name)
        elif self._monitor.hopeless:
            raise TrainingError(self._giving_up(done, rows))

    def _take_remedy(self) -> None:
        name = self._control.take_remedy()
        if name is None:
            return
        verdict = next((v for v in reversed(self._monitor.verdicts) if name in v.remedies), None)
        if verdict is None:
            self.refuse(tr("Nothing that was found asks for this remedy; the run goes on as it is."))
            return
        if name != "skip_rows":
            raise RemedyChosen(name, verdict)
        rows = verdict.evidence["rows"]
        left_out = {(row["source"], row["number"]) for row in rows}
        if left_out <= self.left_out:
            self.refuse(tr("These rows have been left out already; the run goes on as it is."))
            return
        self.left_out |= left_out
        self._monitor.mended(verdict)
        log.info("Left out from here on, %d rows: %s", len(rows), rows)
        self._emit(RunResumed(step=self.position.step, changes={"rows left out": rows}))

    def refuse(self, sentence: str) -> None:
        """Say why a remedy was not applied."""
        log.warning("%s", sentence)
        self._emit(RunResumed(step=self.position.step, refused=sentence))

    def _next_rows(self) -> list[TokenizedRow]:
        """The rows of the present batch: a pure function of its number, so that a retry and a resume see the same."""
        order = self._data.order
        epoch, number = divmod(self.position.batch, updates_per_epoch(self._config, order.rows_per_epoch))
        size = self._config.training.batch_size
        rows = [self._data.train[int(index)] for index in order.epoch(epoch)[number * size : (number + 1) * size]]
        return [row for row in rows if (row.source, row.number) not in self.left_out] if self.left_out else rows

    def _controlled(self, batches: Sequence[RowsOfBatch]) -> Iterator[MicroBatch]:
        """Look at the user's requests once per micro-batch. Raises `Cancelled`; the weights stay as they are then."""
        for one in batches:
            self._wait_while_paused(self.position.step - 1)
            yield one.batch.to(self._updater.device)

    def _wait_while_paused(self, done: int, because: str = "") -> None:
        """Wait after attempt `done` where that is asked for. Raises `Cancelled` where a stop is."""
        if self._control.pause_requested:
            self._emit(RunPaused(step=done, because=because))
            self._control.wait_while_paused()
            self._emit(RunResumed(step=done))
        if self._control.stop_requested:
            raise Cancelled(tr("Stopped."))

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

    def _giving_up(self, done: StepCompleted, rows: list[TokenizedRow]) -> str:
        kept = tr("The weights are those of the last good update, {update}.").format(update=self.position.update)
        if verdict := self._monitor.newest:
            stopped = tr("Training stopped at step {step}.").format(step=done.step)
            return " ".join((stopped, *verdict_words(verdict), kept))
        where = ", ".join(f"{row.source}:{row.number}" for row in rows[:4])
        stopped = tr(
            "Training stopped at step {step}: steps keep failing (loss {loss}, gradient norm {norm}), last on the rows "
            "{rows}; take fp32 or bf16, or a smaller learning rate."
        ).format(step=done.step, loss=f"{done.loss:g}", norm=f"{done.grad_norm:g}", rows=where)
        return f"{stopped} {kept}"


def progress_events(control: Control, emit: Emit) -> Progress:
    """Return a progress function that emits events, and raises `Cancelled` once a stop was requested."""
    return control.reporting(lambda stage, done, total: emit(ProgressReported(stage=stage, done=done, total=total)))


def updates_per_epoch(config: RunConfig, rows: int) -> int:
    """Number of updates in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / config.training.batch_size)


def planned_updates(config: RunConfig, rows: int) -> int:
    """Number of updates that a run will apply."""
    return config.training.max_steps or math.ceil(config.training.epochs * updates_per_epoch(config, rows))
