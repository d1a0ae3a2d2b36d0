"""One optimizer step: forward, scaled backward, unscale, guard, clip, step.

It is written to read like the papers: mixed precision and loss scaling after Micikevicius et al. 2018
(arXiv 1710.03740), clipping after Pascanu et al. 2013 (arXiv 1211.5063), AdamW after Loshchilov & Hutter 2019
(arXiv 1711.05101).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.engine.autocast import autocast
from studio.engine.data.batching import MicroBatch
from studio.engine.precision import Precision
from studio.engine.precision.scaling import LossScaler
from studio.engine.training.loss import SupervisedLoss


@dataclass(frozen=True)
class Attempt:
    """What one attempted step measured. `loss` is the mean per supervised token; both may be non-finite.

    `grad_norm` is unscaled and before clipping; it is non-finite exactly when some gradient is, or when its
    square leaves fp32 (above 1.8e19), which is treated alike.
    """

    loss: float
    grad_norm: float

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
        self._precision = precision
        self._scaler = scaler
        self._max_grad_norm = max_grad_norm

    @property
    def device(self) -> torch.device:
        """Where the trained parameters are."""
        return self._parameters[0].device

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the forward pass computes."""
        return autocast(self._precision, self.device)

    def accumulate(self, batches: Iterable[MicroBatch], supervised: int) -> Tensor:
        """Add the gradients of all micro-batches; return the mean loss per supervised token (no sync).

        Every micro-batch's sum is divided by the tokens of the whole update, so that how an update is split
        changes nothing (a mean of means would weigh the tokens of short answers more).
        """
        self._optimizer.zero_grad(set_to_none=True)
        scale = self._scaler.scale if self._scaler else 1.0
        total = torch.zeros((), device=self.device)
        for batch in batches:
            with self.autocast():
                loss = self._loss(batch) / supervised
            (loss * scale).backward()
            total += loss.detach()
        return total

    def apply(self, loss: Tensor, learning_rate: float) -> Attempt:
        """Unscale, guard, clip, step. A non-finite value never reaches the weights, in any precision."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._scaler:
            torch._foreach_div_(gradients, self._scaler.scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        attempt = Attempt(*torch.stack([loss, norm]).tolist())  # the one synchronisation with the device
        if attempt.finite:
            self._clip(gradients, attempt.grad_norm)
            self._step(learning_rate)
        if self._scaler:
            self._scaler.update(overflowed=not attempt.finite)
        return attempt

    def _clip(self, gradients: list[Tensor], norm: float) -> None:
        if 0.0 < self._max_grad_norm < norm:
            torch._foreach_mul_(gradients, self._max_grad_norm / norm)

    def _step(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
