"""The order of training rows: the domain rows of an epoch, and general rows mixed in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from studio.config.data import Mixing

# Beside the seed, they make the random numbers of each purpose differ.
_GENERAL, _DOMAIN = 1, 3


@dataclass(frozen=True)
class SourceRows:
    """The rows of one source that can be trained on: how many there are, and the source's `weight`, above 0."""

    rows: int
    weight: float = 1.0


class TrainingOrder:
    """Which rows each epoch trains on, in order: a pure function of the seed and the epoch.

    A domain source of n rows and weight w gives round(w·n) of them to every epoch, and one at least. With D domain
    rows in all and a general share g, an epoch has round(D·g / (1 - g)) general rows beside them. General sources
    divide these in proportion to w·n; those of equal weight are one pool. Rows are taken in turn, over all epochs, so
    that those of one weight are seen equally often.

    Args:
        domain: the domain sources, in order; their rows are the first of the training store.
        general: the general sources; their rows follow.
        replay_ratio: the share g of general rows in an epoch.
        mixing: "shuffle" puts general rows anywhere, "alternate" at even distances, "blocks" behind every `block_rows`
            domain rows.
        seed: together with the number of the epoch, decides the order.

    Attributes:
        domain_per_epoch: rows that each domain source gives to an epoch.
        general_per_epoch: general rows of an epoch.
        rows_per_epoch: all of them together.
    """

    def __init__(
        self,
        domain: Sequence[SourceRows],
        general: Sequence[SourceRows],
        replay_ratio: float,
        mixing: Mixing,
        seed: int,
        block_rows: int = 64,
    ) -> None:
        self.domain_per_epoch = tuple(max(1, round(s.weight * s.rows)) if s.rows else 0 for s in domain)
        used = sum(self.domain_per_epoch)
        self.general_per_epoch = round(used * replay_ratio / (1 - replay_ratio)) if any(s.rows for s in general) else 0
        self.rows_per_epoch = used + self.general_per_epoch
        self._domain = _places(domain, 0)
        self._general = general
        self._general_pools = _pools(general, _places(general, sum(s.rows for s in domain)))
        self._mixing = mixing
        self._seed = seed
        self._block_rows = block_rows
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def general_shares(self) -> tuple[float, ...]:
        """Return the general rows of an epoch that each general source has, on average over many epochs."""
        sizes = [source.weight * source.rows for source in self._general]
        return tuple(self.general_per_epoch * size / max(sum(sizes), 1e-300) for size in sizes)

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the indices of an epoch's rows, in order, int64, (rows_per_epoch,). Epochs count from 0."""
        if self._last is None or self._last[0] != number:
            order = self._arranged(number)
            order.flags.writeable = False  # it is kept: the loop asks again for every batch
            self._last = (number, order)
        return self._last[1]

    def _arranged(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, number])
        domain = self._learnt(number)
        domain = domain[rng.permutation(len(domain))]
        general = self._rehearsed(number)
        if self._mixing == "shuffle":
            return rng.permutation(np.concatenate([domain, general]))
        if self._mixing == "blocks":
            return _in_blocks(domain, general, self._block_rows)
        return _interleave(domain, general)

    def _learnt(self, number: int) -> NDArray[np.int64]:
        """Return the domain rows of an epoch, in ascending order for each source."""
        chosen = [
            np.sort(self._in_turn(places, number * count, (number + 1) * count, (_DOMAIN, source)))
            for source, (places, count) in enumerate(zip(self._domain, self.domain_per_epoch, strict=True))
        ]
        return np.concatenate(chosen)

    def _rehearsed(self, number: int) -> NDArray[np.int64]:
        """Return the general rows of an epoch."""
        weighed = [weight * len(places) for weight, places in self._general_pools]
        begins, ends = (apportion(epochs * self.general_per_epoch, weighed) for epochs in (number, number + 1))
        chosen = [
            self._in_turn(places, begin, end, (_GENERAL, pool) if pool else (_GENERAL,))
            for pool, ((_, places), begin, end) in enumerate(zip(self._general_pools, begins, ends, strict=True))
        ]
        if len(chosen) == 1:
            return chosen[0]  # in random order as it is
        rows = np.concatenate([np.empty(0, dtype=np.int64), *chosen])
        return np.random.default_rng([self._seed, number, _GENERAL, len(chosen)]).permutation(rows)

    def _in_turn(self, places: NDArray[np.int64], begin: int, end: int, purpose: tuple[int, ...]) -> NDArray[np.int64]:
        """Return a part of an endless series of rounds, each of which has every one of `places` once."""
        if begin == end:
            return np.empty(0, dtype=np.int64)
        size = len(places)
        rounds = range(begin // size, -(-end // size))
        shuffled = [np.random.default_rng([self._seed, r, *purpose]).permutation(size) for r in rounds]
        skipped = rounds[0] * size
        return places[np.concatenate(shuffled)[begin - skipped : end - skipped]]


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Divide `total` rows in proportion to `shares`, which are above 0, each part to within 1.5 rows.

    No part ever shrinks when the total grows, so the parts of an epoch are differences of the parts of all epochs.
    """
    given = [0] * len(shares)
    rest = total
    # The largest first: each takes its rounded share of what those before it left. Of one row more, at most one goes
    # to it, so neither its part nor what it leaves shrinks.
    largest_first = sorted(range(len(shares)), key=lambda part: -shares[part])
    for place, part in enumerate(largest_first):
        left = sum(shares[other] for other in largest_first[place:])
        given[part] = math.floor(rest * shares[part] / left + 0.5)
        rest -= given[part]
    return given


def _places(sources: Sequence[SourceRows], first: int) -> list[NDArray[np.int64]]:
    """Return the places of each source's rows in the training store, counted from `first`."""
    ends = first + np.cumsum([0, *(source.rows for source in sources)])
    return [np.arange(begin, end) for begin, end in pairwise(ends)]


def _pools(sources: Sequence[SourceRows], places: Sequence[NDArray[np.int64]]) -> list[tuple[float, NDArray[np.int64]]]:
    """Return the weights that occur, in order of appearance, each with the places of all its rows."""
    pools: dict[float, list[NDArray[np.int64]]] = {}
    for source, its_places in zip(sources, places, strict=True):
        if source.rows:
            pools.setdefault(source.weight, []).append(its_places)
    return [(weight, np.concatenate(parts)) for weight, parts in pools.items()]


def _interleave(domain: NDArray[np.int64], general: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put general rows between domain rows at even distances."""
    rows, count = len(domain) + len(general), len(general)
    places = np.zeros(rows, dtype=np.bool_)
    places[((2 * np.arange(count) + 1) * rows) // (2 * max(1, count))] = True
    order = np.empty(rows, dtype=np.int64)
    order[places], order[~places] = general, domain
    return order


def _in_blocks(domain: NDArray[np.int64], general: NDArray[np.int64], block_rows: int) -> NDArray[np.int64]:
    """Put general rows behind every block of `block_rows` domain rows; the last block may be shorter.

    After every block, the general rows so far are to all general rows as the domain rows so far to all domain rows,
    rounded to a row.
    """
    learnt = np.minimum(np.arange(block_rows, len(domain) + block_rows, block_rows), len(domain))
    rehearsed = (2 * len(general) * learnt + len(domain)) // (2 * len(domain))
    blocks = zip(np.split(domain, learnt[:-1]), np.split(general, rehearsed[:-1]), strict=True)
    return np.concatenate([part for block in blocks for part in block])
