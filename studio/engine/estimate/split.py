"""Layers that are shared out among the GPUs of one computer, where one is too small for all of them. Without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

_HALVINGS = 30  # after so many the share is known to a billionth


def split_blocks(blocks: Sequence[int], fixed: Sequence[int], free: Sequence[int]) -> tuple[float, list[int]]:
    """Return how many blocks each card takes, so that the fullest card is as empty as it can be.

    The blocks stay in their order, so that activations move from one card to the next only once. Every card takes one
    at least.

    Args:
        blocks: bytes of each block, at least as many blocks as cards.
        fixed: bytes of each card, whatever blocks it takes.
        free: bytes that are free on each card.

    Returns:
        The share of the free memory that is taken of the fullest card, above 1 where it does not fit, and the number of
        blocks of each card.
    """
    if min(free) <= 0:
        return math.inf, []
    enough = max((own + sum(blocks)) / room for own, room in zip(fixed, free, strict=True))
    too_little, best = 0.0, _fill(blocks, fixed, free, enough)
    for _ in range(_HALVINGS):
        middle = (too_little + enough) / 2
        if counts := _fill(blocks, fixed, free, middle):
            enough, best = middle, counts
        else:
            too_little = middle
    return enough, best


def _fill(blocks: Sequence[int], fixed: Sequence[int], free: Sequence[int], share: float) -> list[int]:
    """Fill each card up to a share of its free memory; return the number of blocks of each, none where some are left.

    A card leaves one block at least for each card behind it.
    """
    counts: list[int] = []
    placed = 0
    for card, (own, room) in enumerate(zip(fixed, free, strict=True)):
        most, taken, first = len(blocks) - (len(free) - card - 1), float(own), placed
        while placed < most and taken + blocks[placed] <= share * room:
            taken += blocks[placed]
            placed += 1
        if placed == first:
            return []
        counts.append(placed - first)
    return counts if placed == len(blocks) else []
