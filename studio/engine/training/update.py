"""One optimizer step: forward, scaled backward, unscale, guard, clip, step.

It is written to read like the papers: mixed precision and loss scaling after Micikevicius et al. 2018
(arXiv 1710.03740), clipping after Pascanu et al. 2013 (arXiv 1211.5063), AdamW after Loshchilov & Hutter 2019
(arXiv 1711.05101).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.engine.autocast import autocast
from studio.engine.data.batching import MicroBatch
from studio.engine.precision import Precision
from studio.engine.precision.scaling import LossScaler
from studio.engine.training.loss import SupervisedLoss

_NOTHING: AbstractContextManager[object] = nullcontext()


@dataclass(frozen=True)
class Attempt:
    """What one attempted step measured. `loss` is the mean per supervised token; both may be non-finite.

    `grad_norm` is unscaled and before clipping, `grad_norm_clipped` after it; they are non-finite exactly when some
    gradient is, or when its square leaves fp32 (above 1.8e19), which is treated alike.
    """

    loss: float
    grad_norm: float
    grad_norm_clipped: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Updater:
    """Accumulates the gradients of one update and applies them, or refuses to."""

    def __init__(
        self,
        loss: SupervisedLoss,
        parameters: Sequence[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        scaler: LossScaler | None,
        max_grad_norm: float,
    ) -> None:
        self._loss = loss
        self._parameters = parameters
        self._optimizer = optimizer
        self.precision = precision
        self._scaler = scaler
        self._max_grad_norm = max_grad_norm

    @property
    def device(self) -> torch.device:
        """Where the trained parameters are."""
        return self._parameters[0].device

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the forward pass computes."""
        return autocast(self.precision, self.device)

    def accumulate(
        self, batches: Iterable[MicroBatch], supervised: int, first: AbstractContextManager[object] = _NOTHING
    ) -> Tensor:
        """Add the gradients of all micro-batches; return the mean loss per supervised token (no sync).

        Every micro-batch's sum is divided by the tokens of the whole update, so that how an update is split
        changes nothing (a mean of means would weigh the tokens of short answers more). The first micro-batch goes
        through the model within the context `first`.
        """
        self._optimizer.zero_grad(set_to_none=True)
        scale = self._scaler.scale if self._scaler else 1.0
        total = torch.zeros((), device=self.device)
        context = first
        for batch in batches:
            with context:
                with self.autocast():
                    loss = self._loss(batch) / supervised
                (loss * scale).backward()
            total += loss.detach()
            context = _NOTHING
        return total

    def apply(
        self,
        loss: Tensor,
        learning_rate: float,
        see_gradients: Callable[[], None] | None = None,
        stepping: AbstractContextManager[object] = _NOTHING,
    ) -> Attempt:
        """Unscale, guard, clip, step. A non-finite value never reaches the weights, in any precision.

        `see_gradients` is called when they are unscaled and not yet clipped; the optimizer steps within `stepping`.
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._scaler:
            torch._foreach_div_(gradients, self._scaler.scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        if see_gradients:
            see_gradients()
        attempt = self._attempt(*torch.stack([loss, norm]).tolist())  # the one synchronisation with the device
        if attempt.finite:
            if attempt.grad_norm_clipped < attempt.grad_norm:
                torch._foreach_mul_(gradients, attempt.grad_norm_clipped / attempt.grad_norm)
            with stepping:
                self._step(learning_rate)
        # The scale comes behind the loss: one that is not finite overflowed before it, whatever the scale.
        if self._scaler and math.isfinite(attempt.loss):
            self._scaler.update(overflowed=not attempt.finite)
        return attempt

    def _attempt(self, loss: float, norm: float) -> Attempt:
        clips = 0.0 < self._max_grad_norm < norm < math.inf
        return Attempt(loss, norm, self._max_grad_norm if clips else norm)

    def _step(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
