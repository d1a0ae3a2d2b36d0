"""Validation: the mean loss per supervised token over the held-out rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from studio.config import RunConfig
from studio.engine.control import Progress
from studio.engine.data.batching import MicroBatch, collate, empty_batch, group_by_length
from studio.engine.data.rows import IGNORED
from studio.engine.training.length import ValidationPlan, plan_validation, planned_updates, trained_rows
from studio.engine.training.trainer import Trainer

if TYPE_CHECKING:
    from studio.engine.data.prepare import PreparedData
    from studio.engine.data.rows import RowStore


@dataclass(frozen=True)
class RowLoss:
    """One row: where it stands, its mean loss in nats per supervised token, and how many of these it has."""

    source: str
    number: int
    loss: float
    tokens: int


@dataclass(frozen=True)
class Evaluation:
    """A measurement on the held-out rows.

    Attributes:
        loss: nats per supervised token; nan where there was no row.
        rows, supervised_tokens: what was measured on.
        batches: number of micro-batches.
        failed: those of them whose loss is not finite.
        each: the loss of each row.
    """

    loss: float
    rows: int
    supervised_tokens: int
    batches: int
    failed: Sequence[MicroBatch]
    each: Sequence[RowLoss] = ()


def plan_of(config: RunConfig, data: PreparedData) -> ValidationPlan:
    """Return how much of the held-out rows of a run is measured, and how often."""
    order, held_out = data.order, data.validation.lengths
    tokens = float(data.train.lengths[order.epoch(0)].mean()) * trained_rows(config, order.rows_per_epoch)
    updates = planned_updates(config, order.rows_per_epoch)
    return plan_validation(config, updates, tokens, len(held_out), float(held_out.sum()))


def evaluate(
    trainer: Trainer, rows: RowStore, progress: Progress, left_out: Collection[tuple[str, int]] = ()
) -> Evaluation:
    """Measure the loss over all rows, in the precision of training, without dropout.

    `left_out` are rows to leave out, by file and number. Where memory runs out, all is measured again in smaller
    micro-batches. Raises `Cancelled`, and `TrainingError` where memory is short of what a single row takes.
    """
    kept = trainer.within_memory("evaluation", lambda: _evaluate(trainer, rows, progress, left_out))
    parts = trainer.ranks.gather(kept)
    return parts[0] if len(parts) == 1 else _together(parts)


def _together(parts: Sequence[Evaluation]) -> Evaluation:
    """Put together what several processes measured, each on its share of the rows."""
    supervised = sum(part.supervised_tokens for part in parts)
    total = sum(part.loss * part.supervised_tokens for part in parts if part.supervised_tokens)
    return Evaluation(
        loss=total / supervised if supervised else math.nan,
        rows=sum(part.rows for part in parts),
        supervised_tokens=supervised,
        batches=sum(part.batches for part in parts),
        failed=[batch for part in parts for batch in part.failed],
        each=[row for part in parts for row in part.each],
    )


def _evaluate(
    trainer: Trainer, rows: RowStore, progress: Progress, left_out: Collection[tuple[str, int]]
) -> Evaluation:
    loss = trainer.model.loss
    # Python's floats are fp64: in fp32 the sum of thousands of micro-batches would lose digits.
    total, supervised, measured = 0.0, 0, 0
    failed: list[MicroBatch] = []
    each: list[RowLoss] = []
    lengths = (rows.lengths + loss.virtual_tokens).tolist()
    mine = trainer.ranks.share(range(len(lengths)), lengths)
    within = group_by_length([lengths[index] for index in mine], trainer.token_budget)
    groups = [[mine[place] for place in group] for group in within]
    with loss.without_dropout(), torch.no_grad():
        for number in range(trainer.passes(len(groups))):
            progress("evaluating", number, len(groups))
            group = groups[number] if number < len(groups) else []
            kept = [row for row in (rows[index] for index in group) if (row.source, row.number) not in left_out]
            if not kept:
                if trainer.in_step:
                    trainer.loss_of_rows(empty_batch(trainer.pad_id))
                continue
            batch = collate(kept, trainer.pad_id)
            losses = trainer.loss_of_rows(batch)
            found = sum(losses)
            counts = (batch.targets != IGNORED).sum(1).tolist()
            for row, of_row, tokens in zip(kept, losses, counts, strict=True):
                each.append(RowLoss(row.source, row.number, of_row / max(1, tokens), tokens))
            if not math.isfinite(found):
                failed.append(batch)
            total += found
            supervised += batch.supervised
            measured += len(kept)
    mean = total / supervised if supervised else math.nan
    return Evaluation(mean, measured, supervised, len(groups), failed, each)
