"""Which texts are equal or nearly equal, from their hashes and sketches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings.traits import NO_HASH

SIMILAR = 0.8
"""Jaccard similarity from which texts with the same frame are nearly equal."""
_ENOUGH = 12  # hashes that an estimate needs; texts with fewer are compared as a whole
_BANDS = 4
_AT_ONCE = 20_000  # sketches, or pairs of them, that are looked at together: it bounds the memory
_COUNTED = 50_000  # rows that tell which hashes many rows share


def near_groups(equal: NDArray[np.int64], frames: NDArray[np.int64], sketches: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return a number for each text, (texts,), the same for texts that are equal or nearly equal.

    Args:
        equal: a hash of each text, (texts,).
        frames: a hash of what nearly equal texts have in common, (texts,).
        sketches: the smallest hashes of the shingles of each, ascending, (texts, hashes).
    """
    _, first, groups = np.unique(equal, return_index=True, return_inverse=True)
    kept = np.flatnonzero(sketches[first, _ENOUGH - 1] != NO_HASH)
    leader = np.arange(len(first))
    for left, right in zip(*_near_pairs(frames, sketches, first[kept]), strict=True):
        a, b = _leader(leader, int(kept[left])), _leader(leader, int(kept[right]))
        leader[max(a, b)] = min(a, b)
    return np.array([_leader(leader, place) for place in range(len(leader))], dtype=np.int64)[groups]


def without_boilerplate(sketches: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return sketches without the hashes that many rows share, such as those of an instruction that stands in each.

    Otherwise a long instruction around a short text would make all rows look alike. Of a large set, rows at equal
    distances tell which hashes these are.
    """
    some = sketches[:: len(sketches) // _COUNTED + 1]
    hashes, counts = np.unique(some, return_counts=True)
    common = hashes[(counts > max(10, len(some) // 100)) & (hashes != NO_HASH)]
    if not len(common):
        return sketches
    cleaned = sketches.copy()
    for begin in range(0, len(cleaned), _AT_ONCE):
        part = cleaned[begin : begin + _AT_ONCE]
        part[np.isin(part, common)] = NO_HASH
        part.sort(axis=1)
    return cleaned


def _near_pairs(
    frames: NDArray[np.int64], sketches: NDArray[np.uint32], texts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of some texts, (texts,), are nearly equal, as two arrays of places in `texts`.

    Candidates are neighbours among the texts with the same frame and the same of their smallest hashes: of two texts
    with a similarity of 0.8, one pair in six hundred shares none of the four.
    """
    frames = frames[texts]
    found = []
    for band in range(_BANDS):
        hashes = sketches[texts, band]
        order = np.lexsort((sketches[texts, (band + 1) % _BANDS], hashes, frames))
        for distance in (1, 2):
            left, right = order[:-distance], order[distance:]
            same = (frames[left] == frames[right]) & (hashes[left] == hashes[right])
            found.append(left[same] * len(texts) + right[same])
    left, right = np.divmod(np.unique(np.concatenate(found)), max(1, len(texts)))
    parts = range(0, len(left), _AT_ONCE)
    near = [_similar(sketches[texts[left[k : k + _AT_ONCE]]], sketches[texts[right[k : k + _AT_ONCE]]]) for k in parts]
    similar = np.concatenate([np.empty(0, np.bool_), *near])
    return left[similar], right[similar]


def _similar(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which pairs of sketches, (pairs, hashes) each, are of nearly equal texts.

    Up to the smaller of their largest hashes both sketches are complete, so that there the share in common is that
    of the texts.
    """
    ends = np.minimum(*(np.where(side == NO_HASH, 0, side).max(axis=1) for side in (left, right)))[:, None]
    both = np.sort(np.concatenate([left, right], axis=1), axis=1)
    valid = (both <= ends) & (both != NO_HASH)
    shared: NDArray[np.int64] = ((both[:, 1:] == both[:, :-1]) & valid[:, 1:]).sum(axis=1)
    union: NDArray[np.int64] = valid.sum(axis=1) - shared
    return (union >= _ENOUGH) & (shared >= SIMILAR * union)


def _leader(leader: NDArray[np.int64], place: int) -> int:
    """Return the first of the group of a text, and shorten the way to it (union-find)."""
    while leader[place] != place:
        leader[place] = leader[leader[place]]
        place = int(leader[place])
    return place
