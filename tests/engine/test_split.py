"""Layers shared out among cards: cases whose answer can be worked out by hand."""

from __future__ import annotations

import math

import pytest

from studio.engine.estimate.split import split_blocks


@pytest.mark.parametrize(
    ("blocks", "fixed", "free", "share", "counts"),
    [
        ([10] * 8, [0, 0], [100, 100], 0.4, [4, 4]),
        ([10] * 8, [20, 0], [100, 100], 0.5, [3, 5]),  # embedding and loss are with the first
        ([10] * 9, [0, 0, 0], [60, 30, 90], 5 / 9, [3, 1, 5]),
        ([30, 10, 10, 10], [0, 0], [100, 100], 0.3, [1, 3]),  # layers stay in their order
        ([10, 10, 10, 30], [0, 0], [100, 100], 0.3, [3, 1]),
        ([50, 50], [0, 0], [40, 40], 1.25, [1, 1]),  # it does not fit
        ([1, 1, 1], [0, 90, 0], [100, 100, 100], 0.91, [1, 1, 1]),  # every card takes one
    ],
)
def test_the_fullest_card_is_as_empty_as_it_can_be(
    blocks: list[int], fixed: list[int], free: list[int], share: float, counts: list[int]
) -> None:
    found, taken = split_blocks(blocks, fixed, free)
    assert sum(taken) == len(blocks)
    assert min(taken) >= 1
    assert (found, taken) == (pytest.approx(share, abs=1e-6), counts)
    best = min(
        max((sum(blocks[a:b]) + own) / room for a, b, own, room in zip(ends, ends[1:], fixed, free, strict=False))
        for ends in _all_ends(len(blocks), len(free))
    )
    assert found == pytest.approx(best, abs=1e-6)


def _all_ends(blocks: int, cards: int) -> list[list[int]]:
    """Return every way to cut a row of blocks into so many pieces, as the places of the cuts with both ends."""
    if cards == 1:
        return [[0, blocks]]
    return [[*head, blocks] for cut in range(cards - 1, blocks) for head in _all_ends(cut, cards - 1)]


def test_a_card_without_free_memory_takes_nothing() -> None:
    assert split_blocks([1, 1], [0, 0], [10, 0]) == (math.inf, [])
