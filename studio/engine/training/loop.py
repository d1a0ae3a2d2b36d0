"""The loop: attempt after attempt until the planned updates are applied, the user stops it, or it must give up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from studio.engine.control import Control, Progress
from studio.engine.data.batching import count_supervised
from studio.engine.data.prepare import PreparedData
from studio.engine.data.split import sample
from studio.engine.numerics.verdicts import verdict_words
from studio.engine.training import pause
from studio.engine.training.evaluate import Evaluation, evaluate, plan_of
from studio.engine.training.length import planned_updates, updates_per_epoch
from studio.engine.training.monitor import NumericsMonitor
from studio.engine.training.optimizer import learning_rate
from studio.engine.training.retention_watch import RetentionWatch
from studio.engine.training.state import Emit, Position, progress_events
from studio.engine.training.trainer import Attempt, Trainer
from studio.errors import Cancelled, TrainingError
from studio.events import EvaluationCompleted, OverflowDiagnosed, RunResumed, StepCompleted
from studio.i18n import sentences, tr

if TYPE_CHECKING:
    from studio.engine.data.rows import TokenizedRow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemedyAsked:
    """The user chose a remedy that changes the configuration; the run goes on from here with another loop."""

    name: str
    verdict: OverflowDiagnosed


Outcome: TypeAlias = Literal["finished", "stopped"] | RemedyAsked
# When a checkpoint may be saved: after an attempt that leaves nothing to worry about or one that does, after the lowest
# validation loss so far, and before the run waits.
Occasion: TypeAlias = Literal["calm", "trouble", "best", "pause"]


class Loop:
    """Trains a model on prepared data.

    Attributes:
        trainer: the model and what it is trained with.
        position: how far the run has come.
        planned: number of updates that will be applied.
        left_out: rows that the user took out, by file and number.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: PreparedData,
        monitor: NumericsMonitor,
        control: Control,
        emit: Emit,
        keep: Callable[[Occasion], None],
        retention: RetentionWatch | None = None,
        until: int | None = None,
    ) -> None:
        """`keep` is called on each occasion at which a checkpoint may be saved.

        `retention` goes from loop to loop of a run; None where it is not measured. `until` is the attempted step to
        stop after.
        """
        self.trainer = trainer
        self.position = Position()
        self.planned = planned_updates(trainer.config, data.order.rows_per_epoch)
        self.left_out: set[tuple[str, int]] = set()
        self._config = trainer.config
        self._data = data
        self._monitor = monitor
        self._control = control
        self._emit = emit
        self._keep = keep
        self._retention = retention
        self._until = until
        plan = plan_of(trainer.config, data)
        self._evaluate_every = plan.every
        self._validation = data.validation.select(sample(len(data.validation), plan.rows, trainer.config.training.seed))
        self._evaluated_at = -1
        self._evaluation: Evaluation | None = None
        self._completed_at = -1  # update after which all was measured
        self._lowest = math.inf
        self._passed_over = 0
        self._ranks = trainer.ranks

    def run(self) -> Outcome:
        """Train until the run is finished or stopped, or must go on with other settings.

        Raises:
            TrainingError: the numbers stay non-finite whatever is tried; the weights are the last good ones.
        """
        try:
            if self.position.update % self._evaluate_every == 0:  # a run that goes on may stand between two
                self._evaluate()
            while self.position.update < self.planned:
                if self._until is not None and self.position.step >= self._until:
                    return "stopped"
                if remedy := self._take_remedy():
                    return remedy
                self._next_attempt()
                if self.position.update % self._evaluate_every == 0:
                    self._evaluate(last=self.position.update == self.planned)
                if self._ranks.any(self._retention is not None and self._retention.below_bound) == [True]:
                    break
            self._evaluate(last=True)
        except Cancelled:
            return "stopped"
        finally:
            self._monitor.finish(self.position.step)
        return "finished"

    @property
    def validation_loss(self) -> float | None:
        """The loss on the held-out rows after the present update, where it was measured."""
        if self._evaluation is None or self._evaluated_at != self.position.update:
            return None
        return self._evaluation.loss

    def to_json(self) -> dict[str, Any]:
        """Return for a checkpoint what its position does not say."""
        return {
            "left_out": [[source, number] for source, number in sorted(self.left_out)],
            "measured_at": self._completed_at,
            "lowest_loss": self._lowest if math.isfinite(self._lowest) else None,
            "monitor": self._monitor.to_json(),
        }

    def restore(self, kept: Mapping[str, Any], *, judged_anew: bool = False) -> None:
        """Go on from what `to_json` returned; `judged_anew`: other numbers come than those that were judged so far."""
        self.left_out = {(source, number) for source, number in kept["left_out"]}
        self._evaluated_at = self._completed_at = kept["measured_at"]
        self._lowest = math.inf if kept["lowest_loss"] is None else kept["lowest_loss"]
        if "monitor" in kept and not judged_anew:  # checkpoints of earlier versions do not have it
            self._monitor.restore(kept["monitor"])

    @property
    def verdicts(self) -> Sequence[OverflowDiagnosed]:
        """What was found harmful so far."""
        return self._monitor.verdicts

    def refuse(self, reason: str) -> None:
        """Say why a remedy was not applied: a code of `studio.text.words.REFUSALS`, or an error's sentence."""
        log.warning("The remedy was not applied: %s", reason)
        self._emit(RunResumed(step=self.position.step, refused=reason))

    @property
    def _updates_per_epoch(self) -> int:
        return updates_per_epoch(self._config, self._data.order.rows_per_epoch)

    def _next_attempt(self) -> None:
        self._control.agree()
        self._wait_while_paused()
        rows = self._next_rows()
        if not rows:
            self._pass_over()
            return
        self._passed_over = 0
        started = self._control.clock()
        rate = learning_rate(self._config.training, self.position.update, self.planned)
        attempt = self.trainer.attempt(
            rows,
            step=self.position.step + 1,
            learning_rate=rate,
            observer=self._monitor if self._ranks.main else None,
            before_micro_batch=self._wait_while_paused if self._ranks.size == 1 else lambda: None,
        )
        self.position.advance(skipped=attempt.skipped, retry=attempt.retry)
        done = StepCompleted(
            step=self.position.step,
            update=self.position.update,
            epoch=self.position.batch / self._updates_per_epoch,
            loss=attempt.loss,
            learning_rate=rate,
            grad_norm=attempt.grad_norm,
            grad_norm_clipped=attempt.grad_norm_clipped,
            grad_scale=attempt.grad_scale,
            skipped=attempt.skipped,
            tokens=sum(len(row.input_ids) for row in rows),
            supervised_tokens=count_supervised(rows),
            micro_batches=len(attempt.batches),
            seconds=self._control.clock() - started,
        )
        self._emit(done)
        if self._ranks.main:
            self._monitor.judge(done, attempt)
        self._answer_trouble(done, attempt, rows)
        self._keep("calm" if not attempt.skipped and self._is_calm() else "trouble")

    def _is_calm(self) -> bool:
        """Whether nothing is wrong with the weights. Process 0 alone judges each attempt."""
        return self._ranks.main_says(self._monitor.calm) == [True]

    def _next_rows(self) -> list[TokenizedRow]:
        rows = self._data.batch(self.position.batch, self._config.training.batch_size)
        return [row for row in rows if (row.source, row.number) not in self.left_out] if self.left_out else rows

    def _pass_over(self) -> None:
        """Go on to the next batch, because all rows of this one were left out.

        Raises:
            TrainingError: no row is left at all.
        """
        self.position.batch += 1
        self._passed_over += 1
        # Wherever they begin, so many batches contain a whole epoch; one epoch's worth may lie across two.
        if self._passed_over >= 2 * self._updates_per_epoch - 1:
            raise TrainingError(tr("All rows to learn from were left out; mend the data, and start a new run."))

    def _answer_trouble(self, done: StepCompleted, attempt: Attempt, rows: Sequence[TokenizedRow]) -> None:
        """Wait for the user where one watches; otherwise end a run that cannot go on."""
        if attempt.retry:
            log.info("Step %d overflowed and is skipped; the loss scale is lowered", done.step)
        elif attempt.skipped:
            log.warning("Step %d is skipped: loss %s, gradient norm %s", done.step, done.loss, done.grad_norm)
        if not self._control.attended:
            if self._ranks.any(self._monitor.hopeless) == [True]:
                raise TrainingError(self._giving_up(done, rows))
        elif self._monitor.should_ask(done.step):
            self._control.pause()
            self._wait_while_paused(self._monitor.newest.verdict if self._monitor.newest else "unknown")

    def _take_remedy(self) -> RemedyAsked | None:
        """Return the remedy that the user asked for; rows are left out at once, and then there is none to return."""
        name = self._control.take_remedy()
        if name is None:
            return None
        verdict = next((v for v in reversed(self._monitor.verdicts) if name in v.remedies), None)
        if verdict is None:
            self.refuse("not_asked_for")
            return None
        if name != "skip_rows":
            return RemedyAsked(name, verdict)
        rows = verdict.evidence["rows"]
        left_out = {(row["source"], row["number"]) for row in rows}
        if left_out <= self.left_out:
            self.refuse("left_out_already")
            return None
        self.left_out |= left_out
        self._monitor.mended(verdict)
        if (scaler := self.trainer.scaler) and scaler.dynamic:
            scaler.scale = max(scaler.scale, verdict.evidence.get("scale_before") or 0.0)  # before these rows came
        log.info("Left out from here on, %d rows: %s", len(rows), rows)
        self._emit(RunResumed(step=self.position.step, changes={"rows left out": rows}))
        return None

    def _wait_while_paused(self, because: str = "") -> None:
        """Wait where that is asked for. Raises `Cancelled` where a stop is."""
        if self._control.pause_requested:
            if not because:  # what may be the middle of an explosion is nothing to go on from
                self._keep("pause")
            roots = (self.trainer.model, self.trainer.optimizer)
            pause.wait(self._control, self._emit, roots, self.trainer.device, self.position.step, because)
        if self._control.stop_requested:
            raise Cancelled(tr("Stopped."))

    def _evaluate(self, *, last: bool = False) -> None:
        progress = progress_events(self._control, self._emit, self._wait_while_paused)
        if self._evaluated_at != self.position.update:
            self._evaluation = self._validate(progress)
            self._evaluated_at = self.position.update
        if self._retention:
            self._retention.look(self.trainer, self.position, self._evaluation, progress, last=last)
        if self._completed_at == self.position.update:
            return
        self._completed_at = self.position.update
        loss = self.validation_loss
        if loss is not None and loss < self._lowest:
            self._lowest = loss
            if self.position.update and not last and self._is_calm():
                self._keep("best")

    def _validate(self, progress: Progress) -> Evaluation | None:
        """Measure the loss on the held-out rows, where there are any."""
        if len(self._validation) == 0:
            return None
        started = self._control.clock()
        result = evaluate(self.trainer, self._validation, progress, self.left_out)
        if not result.rows:
            return None
        done = EvaluationCompleted(
            step=self.position.step,
            update=self.position.update,
            loss=result.loss,
            rows=result.rows,
            held_out=len(self._data.validation),
            supervised_tokens=result.supervised_tokens,
            seconds=self._control.clock() - started,
        )
        self._emit(done)
        if self._ranks.main:
            self._monitor.judge_validation(done, result.failed, result.batches)
        return result

    def _giving_up(self, done: StepCompleted, rows: Sequence[TokenizedRow]) -> str:
        kept = tr("The weights are those of the last good update, {update}.").format(update=self.position.update)
        if verdict := self._monitor.newest:
            stopped = tr("Training stopped at step {step}.").format(step=done.step)
            return sentences((stopped, *verdict_words(verdict), kept))
        where = tr(", ").join(f"{row.source}:{row.number}" for row in rows[:4])
        stopped = tr(
            "Training stopped at step {step}: steps keep failing (loss {loss}, gradient norm {norm}), last on the rows "
            "{rows}; take fp32 or bf16, or a smaller learning rate."
        ).format(step=done.step, loss=f"{done.loss:g}", norm=f"{done.grad_norm:g}", rows=where)
        return f"{stopped} {kept}"
