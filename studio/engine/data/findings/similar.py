"""Which texts are equal or nearly equal, from their hashes and sketches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings.traits import NO_HASH

SIMILAR = 0.8
"""Jaccard similarity from which texts with the same frame are nearly equal."""
_ENOUGH = 12  # hashes that an estimate needs; texts with fewer are compared as a whole
_BANDS = 4
_PAIRS = 50_000  # pairs that are compared at once


def near_groups(equal: NDArray[np.int64], frames: NDArray[np.int64], sketches: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return a number for each text, (texts,), the same for texts that are equal or nearly equal.

    Args:
        equal: a hash of each text, (texts,).
        frames: a hash of what nearly equal texts have in common, (texts,).
        sketches: the smallest hashes of the shingles of each, ascending, (texts, hashes).
    """
    _, first, groups = np.unique(equal, return_index=True, return_inverse=True)
    kept = np.flatnonzero((sketches[first] != NO_HASH).sum(axis=1) >= _ENOUGH)
    some = first[kept]
    leader = np.arange(len(first))
    for left, right in zip(*_near_pairs(frames[some], sketches[some]), strict=True):
        a, b = _leader(leader, int(kept[left])), _leader(leader, int(kept[right]))
        leader[max(a, b)] = min(a, b)
    return np.array([_leader(leader, place) for place in range(len(leader))], dtype=np.int64)[groups]


def without_boilerplate(sketches: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return sketches without the hashes that many rows share, such as those of an instruction that stands in each.

    Otherwise a long instruction around a short text would make all rows look alike.
    """
    hashes, counts = np.unique(sketches, return_counts=True)
    common = hashes[counts > max(10, len(sketches) // 100)]
    cleaned = np.where(np.isin(sketches, common), NO_HASH, sketches)
    cleaned.sort(axis=1)
    return cleaned


def _near_pairs(frames: NDArray[np.int64], sketches: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return places of texts that are nearly equal, in pairs.

    Candidates are neighbours among the texts with the same frame and the same of their smallest hashes: of two texts
    with a similarity of 0.8, one pair in six hundred shares none of the four.
    """
    found = []
    for band in range(_BANDS):
        order = np.lexsort((sketches[:, (band + 1) % _BANDS], sketches[:, band], frames))
        for distance in (1, 2):
            left, right = order[:-distance], order[distance:]
            same = (frames[left] == frames[right]) & (sketches[left, band] == sketches[right, band])
            found.append(np.stack([left[same], right[same]]))
    pairs = np.unique(np.concatenate(found, axis=1), axis=1)
    parts = [_similar(sketches[a], sketches[b]) for a, b in np.array_split(pairs, -(-pairs.shape[1] // _PAIRS) or 1, 1)]
    left, right = pairs[:, np.concatenate(parts)]
    return left, right


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
