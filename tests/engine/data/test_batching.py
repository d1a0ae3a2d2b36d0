"""Rows become micro-batches without losing a token or a label."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from studio.engine.data.batching import IGNORED, collate, group_by_length


def _row(ids: list[int], prompt: int) -> SimpleNamespace:
    return SimpleNamespace(input_ids=ids, labels=[IGNORED] * prompt + ids[prompt:])


def test_every_row_is_in_exactly_one_group_within_the_budget() -> None:
    lengths = [5, 90, 7, 33, 32, 5, 120, 1]
    groups = group_by_length(lengths, 100)
    assert sorted(index for group in groups for index in group) == list(range(8))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 100


def test_the_longest_rows_come_first_so_that_memory_peaks_at_once() -> None:
    assert group_by_length([1, 3, 2], 1) == [[1], [2], [0]]


def test_each_position_predicts_the_next_token_and_padding_predicts_nothing() -> None:
    batch = collate([_row([10, 11, 12, 13], 2), _row([20, 21], 1)], pad_id=0)  # type: ignore[list-item]
    assert batch.input_ids.tolist() == [[10, 11, 12], [20, 21, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.targets.tolist() == [[IGNORED, 12, 13], [21, IGNORED, IGNORED]]
    assert (batch.tokens, batch.supervised) == (6, 3)


def test_an_end_token_that_is_also_the_padding_token_is_still_learnt() -> None:
    batch = collate([_row([5, 6, 2], 1), _row([5, 6, 7, 2], 1)], pad_id=2)  # type: ignore[list-item]
    assert torch.equal(batch.targets[:, 1], torch.tensor([2, 7]))
