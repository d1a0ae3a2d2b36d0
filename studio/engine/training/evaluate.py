"""Validation: the mean loss per supervised token over the held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from studio.engine.control import Progress
from studio.engine.data.batching import collate, group_by_length
from studio.engine.training.trainer import Trainer

if TYPE_CHECKING:
    from studio.engine.data.rows import RowStore


@dataclass(frozen=True)
class Evaluation:
    """`loss` is in nats per supervised token."""

    loss: float
    rows: int
    supervised_tokens: int


def evaluate(trainer: Trainer, rows: RowStore, progress: Progress) -> Evaluation:
    """Return the loss over all rows, in the precision of training, without dropout. Raises `Cancelled`."""
    loss = trainer.model.loss
    # Summed in fp64: thousands of micro-batches would lose digits in fp32.
    total = torch.zeros((), dtype=torch.float64)
    lengths = (rows.lengths + loss.virtual_tokens).tolist()
    groups: Sequence[list[int]] = group_by_length(lengths, trainer.token_budget)
    supervised = 0
    with loss.without_dropout(), torch.no_grad(), trainer.autocast():
        for number, group in enumerate(groups):
            progress("evaluating", number, len(groups))
            batch = collate([rows[index] for index in group], trainer.pad_id).to(trainer.device)
            total += loss(batch).double().cpu()
            supervised += batch.supervised
    return Evaluation(float(total) / supervised, len(rows), supervised)
