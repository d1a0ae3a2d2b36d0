"""Repeating a micro-batch that failed, without touching the state of the training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from studio.engine.data.batching import MicroBatch

# So many times larger than the loss scale in question is one under which what was lost shows.
RAISED = 1024.0


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What it takes to go through the forward and backward pass of a micro-batch once more.

    Attributes:
        model: what is trained; `base`, the transformers model inside it, gives the names.
        loss: summed loss of a micro-batch, as `SupervisedLoss` computes it.
        autocast: makes the context in which the forward pass computes.
        scale: the loss scale of the step that failed, None without.
        supervised: supervised tokens of the whole update, by which the loss is divided.
    """

    model: nn.Module
    base: nn.Module
    loss: Callable[..., Tensor]
    autocast: Callable[[], AbstractContextManager[object]]
    scale: float | None
    supervised: int

    def run(self, batch: MicroBatch, see: Callable[[Tensor], None] | None = None) -> tuple[Tensor | None, ...]:
        """Go forward, let `see` look at the loss, go backward, and return the gradients of what is trained, scaled.

        No `.grad` and no random state is touched.
        """
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gpus = list({parameter.device for parameter in trained if parameter.is_cuda})
        with torch.random.fork_rng(devices=gpus):
            scale = self.scale or 1.0
            with self.autocast():
                loss = self.loss(batch, scale / self.supervised) / self.supervised
            if see is not None:
                see(loss.detach())
            return torch.autograd.grad(loss * scale, trained, allow_unused=True)

    def lost_to_fp16(self, batch: MicroBatch, wide: Callable[[], AbstractContextManager[object]]) -> float | None:
        """Return which share (0 to 1) of the gradients is zero here and is not with the range of fp32.

        `wide` makes a context in which the products have that range. What is stored in fp16 is kept from vanishing by
        a loss scale that is far larger there. None where gradients are not finite.
        """
        raised = replace(self, autocast=wide, scale=(self.scale or 1.0) * RAISED)
        pairs = zip(self.run(batch), raised.run(batch), strict=True)
        here, there = zip(*((a, b) for a, b in pairs if a is not None and b is not None), strict=True)
        if not all(bool(torch.isfinite(gradient).all()) for gradient in (*here, *there)):
            return None
        not_zero = sum(int((gradient != 0).sum()) for gradient in there)
        lost = sum(int(((b != 0) & (a == 0)).sum()) for a, b in zip(here, there, strict=True))
        return lost / not_zero if not_zero else 0.0

    def has_finite_gradients(self, batch: MicroBatch) -> bool:
        """Go forward and backward, and return whether all gradients of what is trained are finite."""
        return all(bool(torch.isfinite(gradient).all()) for gradient in self.run(batch) if gradient is not None)

    def is_finite(self, batch: MicroBatch) -> bool:
        """Go forward alone, and return whether the loss is finite."""
        gpus = [batch.input_ids.device] if batch.input_ids.is_cuda else []
        with torch.random.fork_rng(devices=gpus), torch.no_grad(), self.autocast():
            return bool(torch.isfinite(self.loss(batch)))
