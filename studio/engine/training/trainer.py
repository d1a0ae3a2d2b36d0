"""One attempted step of training, from rows to changed weights.

Loss scaling and the fp32 master copy follow Micikevicius et al. 2018 (arXiv 1710.03740), clipping follows Pascanu et
al. 2013 (arXiv 1211.5063), and the optimizer is AdamW, Loshchilov & Hutter 2019 (arXiv 1711.05101).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from studio.config import RunConfig
from studio.engine.autocast import autocast
from studio.engine.data.batching import MicroBatch, count_supervised, empty_batch, micro_batches
from studio.engine.device import is_out_of_memory, memory_is_short, release_memory
from studio.engine.distributed import ALONE, Ranks
from studio.engine.numerics.replay import Replay
from studio.engine.precision import Precision
from studio.engine.precision.scaling import LossScaler, make_scaler
from studio.engine.seed import seed_step
from studio.engine.sharding import is_sharded, total_norm
from studio.engine.training.model import TrainableModel
from studio.engine.training.optimizer import apply_step, make_optimizer
from studio.engine.training.state import Emit
from studio.errors import TrainingError
from studio.events import MicroBatchShrunk
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.data.rows import TokenizedRow

log = logging.getLogger(__name__)

T = TypeVar("T")
Activity: TypeAlias = Literal["trial", "training", "optimizer", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attempted step measured, and what follows from it.

    Attributes:
        loss: mean over the supervised tokens of the update, nats per token; may be non-finite.
        grad_norm: L2 norm of all gradients, unscaled and before clipping. It is also non-finite where its square
            leaves fp32 (a norm above 1.8e19).
        grad_norm_clipped: the same after clipping.
        grad_scale: the loss scale of this step, None where the loss is not scaled.
        could_back_off: before this step, the scaler could still have lowered the scale.
        batches: the micro-batches of this process, on the processor; after a skipped step those of all processes.
    """

    loss: float
    grad_norm: float
    grad_norm_clipped: float
    grad_scale: float | None
    could_back_off: bool
    batches: Sequence[MicroBatch] = field(default=(), compare=False)

    @property
    def rows(self) -> list[TokenizedRow]:
        """All rows of the update, in the order in which they went through the model."""
        return [row for batch in self.batches for row in batch.rows]

    @property
    def skipped(self) -> bool:
        """Whether the weights were left as they were, because the loss or a gradient is not finite."""
        return not (math.isfinite(self.loss) and math.isfinite(self.grad_norm))

    @property
    def retry(self) -> bool:
        """Whether the same rows are to be tried again: a smaller loss scale may be all that they need."""
        return self.skipped and math.isfinite(self.loss) and self.could_back_off


def decide(loss: float, grad_norm: float, scaler: LossScaler | None, max_grad_norm: float) -> Attempt:
    """Judge a step by its loss and its unscaled gradient norm, and choose the loss scale of the next step."""
    clips = 0.0 < max_grad_norm < grad_norm < math.inf
    attempt = Attempt(
        loss=loss,
        grad_norm=grad_norm,
        grad_norm_clipped=max_grad_norm if clips else grad_norm,
        grad_scale=scaler.scale if scaler else None,
        could_back_off=scaler is not None and scaler.can_back_off,
    )
    # The loss is computed before it is scaled. A loss that is not finite says nothing about the scale.
    if scaler and math.isfinite(loss):
        scaler.update(overflowed=attempt.skipped)
    return attempt


class StepObserver:
    """Looks at an attempted step from inside. This one looks at nothing; subclasses override what they need."""

    def first_micro_batch(self, step: int) -> AbstractContextManager[object]:
        """Return the context for the forward and backward pass of the first, largest micro-batch."""
        return nullcontext()

    def see_gradients(self, step: int) -> None:
        """See the gradients of the whole update in `.grad`: unscaled, not yet clipped, perhaps not finite."""

    def optimizer_step(self, step: int) -> AbstractContextManager[object]:
        """Return the context for the optimizer's step."""
        return nullcontext()


class Trainer:
    """A model with all it needs to be trained.

    Attributes:
        optimizer: holds the moments of the trained parameters.
        scaler: None where the loss is not scaled.
        pad_id: token that fills up short rows; padding is masked by position, so any token will do.
        token_budget: padded tokens of a micro-batch. It changes speed and memory, never the result. It shrinks where
            memory runs out.
        in_step: whether every process must go through the model as often as the others (`studio.engine.sharding`).
    """

    def __init__(
        self,
        config: RunConfig,
        model: TrainableModel,
        precision: Precision,
        *,
        pad_id: int = 0,
        token_budget: int,
        emit: Emit = lambda event: None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`emit` is told when micro-batches shrink; `ranks` are the processes that share the rows of each update."""
        self.config = config
        self.model = model
        self.precision = precision
        self.scaler = make_scaler(precision, config.precision)
        self.optimizer = make_optimizer(model.parameters, config.training, precision, config.precision)
        self.pad_id = pad_id
        self.token_budget = token_budget
        self.ranks = ranks
        self.in_step = is_sharded(model.model)
        self._emit = emit
        self._step = 0
        self._batch: MicroBatch | None = None

    @property
    def device(self) -> torch.device:
        """Where the trained parameters are."""
        return self.model.parameters[0].device

    @property
    def rounds_updates(self) -> bool:
        """Whether rounding may undo updates: there is no fp32 master copy, and rounding is to the nearest."""
        return self.precision.pure and not self.config.precision.stochastic_rounding

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the forward pass computes."""
        return autocast(self.precision, self.device)

    def attempt(
        self,
        rows: Sequence[TokenizedRow],
        *,
        step: int,
        learning_rate: float,
        observer: StepObserver | None = None,
        before_micro_batch: Callable[[], None] = lambda: None,
    ) -> Attempt:
        """Try to apply one update on `rows`; leave the weights as they are where a number is not finite.

        Where memory runs out, the same rows are taken in smaller micro-batches.

        Args:
            rows: all rows of the update; where several processes train, each takes its share of them.
            step: number of the attempt, from 1. Its random numbers follow from it.
            learning_rate: of this update.
            observer: what looks at the numbers inside.
            before_micro_batch: called before each micro-batch. What it raises ends the attempt; no weight has
                changed then.

        Raises:
            TrainingError: memory is short of what a single row takes.
        """
        self._step = step
        # Linux promises memory that it does not have, and ends the process that uses it. So less is taken before that.
        if self._is_short():
            self._make_room("training", needed=False)
        with_all = functools.partial(
            self._attempt, rows, step, learning_rate, observer or StepObserver(), before_micro_batch
        )
        return self.within_memory("training", with_all)

    def _attempt(
        self,
        rows: Sequence[TokenizedRow],
        step: int,
        learning_rate: float,
        observer: StepObserver,
        before_micro_batch: Callable[[], None],
    ) -> Attempt:
        # Dropout is drawn from the step's number alone, so that a resumed run draws what the whole run would have.
        seed_step(self.config.training.seed, step, self.ranks.rank)
        own = self.ranks.share(rows, [len(row.input_ids) for row in rows])
        batches = self._micro_batches(own)
        supervised = count_supervised(rows)

        # Forward and backward, adding up gradients over the micro-batches. Each sum of losses is divided by the tokens
        # of the whole update: how an update is split then changes nothing. (A mean of the micro-batches' means would
        # give the tokens of short answers more weight.)
        self.optimizer.zero_grad(set_to_none=True)
        scale = self.scaler.scale if self.scaler else 1.0
        loss = torch.zeros((), device=self.device)
        empty = [empty_batch(self.pad_id) for _ in range(len(batches), self.passes(len(batches)))]
        for number, batch in enumerate((*batches, *empty)):
            before_micro_batch()
            with observer.first_micro_batch(step) if number == 0 else nullcontext():
                part = self.loss(batch, scale / supervised) / supervised
                # Scaled, the small gradients of fp16 stay above its smallest number, 2^-24, on their way backward.
                (part * scale).backward()
            loss += part.detach()
        if self.ranks.size > 1:
            self._add_up(loss)

        # Unscale before anything looks at the gradients: the norm, clipping and AdamW's epsilon mean true sizes.
        gradients = [parameter.grad for parameter in self.model.parameters if parameter.grad is not None]
        if self.scaler:
            torch._foreach_div_(gradients, scale)
        norm = total_norm(gradients)
        observer.see_gradients(step)

        # The only synchronisation with the device in a step: all that was queued above is waited for here.
        mean_loss, grad_norm = torch.stack([loss, norm]).tolist()
        attempt = decide(mean_loss, grad_norm, self.scaler, self.config.training.max_grad_norm)

        # The guard. A single nan in a gradient would reach every weight through the norm, and Adam's averages would
        # keep it for good. It stands here in every precision, because fp32 can overflow too.
        if not attempt.skipped:
            if attempt.grad_norm_clipped < attempt.grad_norm:
                torch._foreach_mul_(gradients, attempt.grad_norm_clipped / attempt.grad_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            with observer.optimizer_step(step):
                apply_step(self.optimizer, lambda: self._make_room("optimizer"))
        elif self.ranks.size > 1:
            batches = self._micro_batches(rows)  # another process may have had the rows that overflowed
        return dataclasses.replace(attempt, batches=batches)

    def passes(self, count: int) -> int:
        """Return how often to go through the model for `count` micro-batches; those that are left are empty ones."""
        return self.ranks.most(count) if self.in_step else count

    def _is_short(self) -> bool:
        """Whether memory is short here, or in a process that must keep in step. Their budgets are the same then."""
        short = memory_is_short(self.device)
        if self.in_step:
            [short] = self.ranks.any(short)
            self.token_budget = -self.ranks.most(-self.token_budget)
        return short

    def _micro_batches(self, rows: Sequence[TokenizedRow]) -> list[MicroBatch]:
        return micro_batches(rows, self.token_budget, self.pad_id, self.model.loss.virtual_tokens)

    def _add_up(self, loss: Tensor) -> None:
        """Add the loss and the gradients of all processes together. A process may have had no row of the update."""
        if self.in_step:  # the backward pass has summed the gradients
            self.ranks.add([loss.view(1)])
            return
        for parameter in self.model.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter, dtype=parameter.grad_dtype)
        self.ranks.add([loss.view(1), *(p.grad for p in self.model.parameters if p.grad is not None)])

    def loss(self, batch: MicroBatch, weight: float = 1.0) -> Tensor:
        """Return the summed loss of a micro-batch, in nats; `weight` as in `SupervisedLoss`."""
        self._batch = batch
        with self.autocast():
            return self.model.loss(batch.to(self.device), weight)

    def loss_of_rows(self, batch: MicroBatch) -> list[float]:
        """Return the summed loss of each row of a micro-batch, in nats."""
        self._batch = batch
        with self.autocast():
            losses: list[float] = self.model.loss.of_rows(batch.to(self.device)).tolist()
        return losses

    def read(self, batch: MicroBatch, virtual_tokens: int) -> Tensor:
        """Return what the output layer reads at the supervised positions, (supervised, d); as `SupervisedLoss.read`."""
        self._batch = batch
        with self.autocast():
            return self.model.loss.read(batch.to(self.device), virtual_tokens)

    def try_out(self, batch: MicroBatch) -> None:
        """Go forward and backward with a micro-batch, and leave no trace."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            scale = (self.scaler.scale if self.scaler else 1.0) / max(1, batch.supervised)
            (self.loss(batch, scale) * scale).backward()
        self.optimizer.zero_grad(set_to_none=True)

    def within_memory(self, during: Activity, work: Callable[[], T]) -> T:
        """Return what `work` returns. Where memory runs out in it, make room, and let it begin again.

        Raises:
            TrainingError: there is no room to be made.
        """
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.in_step:  # the others are in the middle of a pass, and cannot begin it again
                    raise TrainingError(self._out_of_step()) from error
            # Only here is the error gone, and with it the tensors of all functions that it came through.
            self.optimizer.zero_grad(set_to_none=True)
            self._make_room(during)

    def _out_of_step(self) -> str:
        """Say that memory ran out where processes share the weights, and what to change."""
        if self.model.recomputation.on:
            words = tr(
                "Memory ran out in one of the {count} processes that share the weights; continue the run on more GPUs, "
                "where it goes on from its newest checkpoint, or start a new one with a lower data.max_length."
            )
        else:
            words = tr(
                "Memory ran out in one of the {count} processes that share the weights; continue the run with "
                "training.recompute = on, which goes on from its newest checkpoint."
            )
        return words.format(count=self.ranks.size)

    def _make_room(self, during: Activity, *, needed: bool = True) -> None:
        """Release memory and halve the micro-batch that was too much. Below one row, keep less.

        Where nothing more can be done, a run ends if it is `needed`.
        """
        release_memory(self.device)
        before, batch = self.token_budget, self._batch
        if batch is not None and len(batch.rows) > 1:
            self.token_budget = max(1, min(before, batch.input_ids.numel()) // 2)
        elif self.config.training.recompute == "auto" and not self.model.recomputation.on:
            self.model.recomputation.on = True
        elif self.device.type == "cuda" and self.model.recomputation.on and not self.model.recomputation.on_host:
            self.model.recomputation.on_host = True
        elif not needed:
            return
        elif during != "optimizer":
            raise TrainingError(
                tr("There is not enough memory for a single row; lower data.max_length, or take a smaller model.")
            )
        log.warning("Memory ran out (%s); micro-batches have %d tokens now", during, self.token_budget)
        self._emit(
            MicroBatchShrunk(
                step=self._step,
                during=during,
                tokens_before=before,
                tokens=self.token_budget,
                recompute=self.model.recomputation.on,
            )
        )

    def replay(self, batches: Sequence[MicroBatch], scale: float | None) -> Replay:
        """Return what repeats the micro-batches of an update, one by one, at its loss scale."""
        return Replay(
            model=self.model.model,
            base=self.model.base,
            loss=self.model.loss,
            autocast=self.autocast,
            scale=scale,
            supervised=sum(batch.supervised for batch in batches),
        )
