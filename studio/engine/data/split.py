"""Choose the rows that are held out for validation, and a sample of them; rows, share and seed alone decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out(digests: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows are held out, (rows,).

    Equal rows stay on one side, so that nothing is validated that was trained on. At least one row is held out
    when `fraction` is above 0 and there are two different rows; otherwise none.

    Args:
        digests: one number a row, equal for equal rows, (rows,).
        fraction: share to hold out, 0 to 1.
    """
    held = np.zeros(len(digests), dtype=np.bool_)
    _, first, group_of, sizes = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    if fraction <= 0 or len(sizes) < 2:
        return held
    target = target_rows(len(digests), fraction)
    # Groups in order of appearance: `np.unique` sorts by digest, and the result must not depend on hash values.
    by_appearance = np.argsort(first)
    shuffled = by_appearance[np.random.default_rng([seed, 0, 2]).permutation(len(by_appearance))]
    return np.isin(group_of, _fill(shuffled, sizes, target))


def target_rows(rows: int, fraction: float) -> int:
    """Return how many of so many different rows are held out."""
    return min(max(1, round(fraction * rows)), rows - 1) if fraction > 0 else 0


def sample(rows: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return `count` of so many held-out rows, in ascending order: the same ones for the same seed."""
    return np.sort(np.random.default_rng([seed, 0, 4]).permutation(rows)[:count])


def _fill(groups: NDArray[np.int64], sizes: NDArray[np.int64], target: int) -> list[int]:
    """Return groups, in the order given, whose sizes add up to `target` or as near below as they come; one at least."""
    chosen: list[int] = []
    room = target
    for group in groups:
        if sizes[group] <= room:
            chosen.append(int(group))
            room -= int(sizes[group])
        if not room:
            break
    return chosen or [int(groups[np.argmin(sizes[groups])])]
