"""Make micro-batches: rows of similar length together, as many as a token budget allows, padded on the right."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from studio.engine.data.rows import IGNORED, TokenizedRow


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together. The target of position t is the token at t + 1.

    Attributes:
        input_ids: tokens, int64, (rows, length); the last token of the longest row predicts nothing and is left out.
        attention_mask: 1 where there is a token, int64, (rows, length).
        targets: the token to predict or -100, int64, (rows, length).
        learnt: positions whose target is not -100, in the flattened batch, int64, (supervised,). They are found on the
            processor; a GPU would have to be waited for.
        tokens: number of tokens without padding.
        supervised: number of targets that are not -100.
        rows: the rows that the batch was made of, in order.
    """

    input_ids: Tensor
    attention_mask: Tensor
    targets: Tensor
    learnt: Tensor
    tokens: int
    supervised: int
    rows: Sequence[TokenizedRow] = ()

    def to(self, device: torch.device) -> MicroBatch:
        """Return the batch on `device`."""
        return dataclasses.replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            attention_mask=self.attention_mask.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            learnt=self.learnt.to(device, non_blocking=True),
        )


def collate(rows: Sequence[TokenizedRow], pad_id: int) -> MicroBatch:
    """Pad rows to their longest and shift the labels. Padding is masked by position, never by token id."""
    length = max(len(row.input_ids) for row in rows) - 1
    shape = (len(rows), length)
    input_ids = torch.full(shape, pad_id)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    targets = torch.full(shape, IGNORED)
    for index, row in enumerate(rows):
        filled = min(len(row.input_ids), length)
        input_ids[index, :filled] = torch.tensor(row.input_ids[:filled])
        attention_mask[index, :filled] = 1
        targets[index, : len(row.labels) - 1] = torch.tensor(row.labels[1:])
    tokens = sum(len(row.input_ids) for row in rows)
    learnt = (targets.flatten() != IGNORED).nonzero().squeeze(1)
    return MicroBatch(input_ids, attention_mask, targets, learnt, tokens, len(learnt), rows)


def empty_batch(pad_id: int) -> MicroBatch:
    """Return a micro-batch with nothing to learn, for a process that only keeps up with the others."""
    nothing = np.full(2, IGNORED, dtype=np.int32)
    return dataclasses.replace(collate([TokenizedRow(np.full_like(nothing, pad_id), nothing, "", 0)], pad_id), rows=())


def count_supervised(rows: Sequence[TokenizedRow]) -> int:
    """Return how many targets of the rows are learnt. The first label of a row is no target: nothing predicts it."""
    return sum(int(np.count_nonzero(np.asarray(row.labels[1:]) != IGNORED)) for row in rows)


def group_by_length(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Split rows into groups of like length whose padded size stays within `token_budget`.

    Args:
        lengths: tokens of each row.
        token_budget: largest rows × longest of a group; a single longer row stands alone.

    Returns:
        Lists of indices into `lengths`, the longest rows first, so that memory peaks at once or never.
    """
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if room == 0:
            groups.append([])
            room = max(1, token_budget // max(1, lengths[index]))
        groups[-1].append(index)
        room -= 1
    return groups


def micro_batches(
    rows: Sequence[TokenizedRow], token_budget: int, pad_id: int, virtual_tokens: int = 0
) -> list[MicroBatch]:
    """Return the rows of one update as micro-batches, the longest rows first.

    `virtual_tokens` is the number of positions that the method puts in front of every row.
    """
    groups = group_by_length([len(row.input_ids) + virtual_tokens for row in rows], token_budget)
    return [collate([rows[index] for index in group], pad_id) for group in groups]
