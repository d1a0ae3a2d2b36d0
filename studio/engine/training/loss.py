"""The loss: cross-entropy summed over the supervised tokens. Logits are computed only where some row has a label."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from studio.engine.data.rows import IGNORED
from studio.engine.kernels.cross_entropy import cross_entropy_sum

if TYPE_CHECKING:
    from studio.engine.data.batching import MicroBatch


class SupervisedLoss:
    """Computes the loss of micro-batches through the model's public forward."""

    def __init__(self, model: nn.Module, base: nn.Module, virtual_tokens: int = 0) -> None:
        """Check once whether the forward of `base` takes `logits_to_keep`; peft passes arguments on to it.

        `virtual_tokens` is the number of positions that the method puts in front of every row, in the output too.
        """
        self.virtual_tokens = virtual_tokens
        self._model = model
        self._keeps_logits = "logits_to_keep" in inspect.signature(base.forward).parameters

    def __call__(self, batch: MicroBatch) -> Tensor:
        """Return the summed cross-entropy, fp32, scalar, in nats."""
        supervised = batch.targets != IGNORED
        # The output layer is the widest by far (one logit per word), and most positions are prompt or padding:
        # those that no row is trained on need no logits.
        kept = supervised.any(dim=0).nonzero().squeeze(1)
        logits = self._logits(batch, kept + self.virtual_tokens)
        return cross_entropy_sum(logits, batch.targets[:, kept], IGNORED)

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Switch the model to evaluation for a while."""
        self._model.eval()
        try:
            yield
        finally:
            self._model.train()

    def _logits(self, batch: MicroBatch, kept: Tensor) -> Tensor:
        """Return the logits at the positions `kept` (int64, (positions,)): (rows, positions, vocabulary)."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
        if self._keeps_logits:
            logits: Tensor = self._model(**inputs, logits_to_keep=kept).logits
            return logits
        return torch.index_select(self._model(**inputs).logits, 1, kept)
