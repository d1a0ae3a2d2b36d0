"""The order of training rows: every domain row once an epoch, and general rows mixed in between."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_GENERAL = 1  # makes the random numbers of the general rows differ from those of the epochs


class TrainingOrder:
    """Which rows each epoch trains on, in order: a pure function of the seed and the epoch.

    Args:
        domain: number of domain rows; they are the first rows of the training store.
        general: number of general rows; they follow.
        replay_ratio: share g of general rows in an epoch, which then has round(D·g / (1 - g)) of them beside its
            D domain rows. They are taken in turn, over all epochs, so that each is seen as often as the others.
        mixing: "shuffle" puts them anywhere, "alternate" at even distances.
        seed: together with the number of the epoch, decides the order.

    Attributes:
        rows_per_epoch: domain and general rows of one epoch; `general_per_epoch` are the general ones alone.
    """

    def __init__(
        self, domain: int, general: int, replay_ratio: float, mixing: Literal["shuffle", "alternate"], seed: int
    ) -> None:
        self._domain = domain
        self._pool = general
        self.general_per_epoch = round(domain * replay_ratio / (1 - replay_ratio)) if general else 0
        self.rows_per_epoch = domain + self.general_per_epoch
        self._mixing = mixing
        self._seed = seed
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the indices of an epoch's rows, in order, int64, (rows_per_epoch,). Epochs count from 0."""
        if self._last is None or self._last[0] != number:
            order = self._arranged(number)
            order.flags.writeable = False  # it is kept: the loop asks again for every batch
            self._last = (number, order)
        return self._last[1]

    def _arranged(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, number])
        domain = rng.permutation(self._domain)
        general = self._domain + self._rehearsed(number)
        if self._mixing == "shuffle":
            return rng.permutation(np.concatenate([domain, general]))
        return _interleave(domain, general)

    def _rehearsed(self, number: int) -> NDArray[np.int64]:
        """Return the next general rows of an endless series of rounds, each a permutation of all general rows."""
        if not self.general_per_epoch:
            return np.empty(0, dtype=np.int64)
        begin = number * self.general_per_epoch
        end = begin + self.general_per_epoch
        rounds = range(begin // self._pool, -(-end // self._pool))
        shuffled = [np.random.default_rng([self._seed, r, _GENERAL]).permutation(self._pool) for r in rounds]
        skipped = rounds[0] * self._pool
        return np.concatenate(shuffled)[begin - skipped : end - skipped]


def _interleave(domain: NDArray[np.int64], general: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put general rows between domain rows at even distances."""
    rows, count = len(domain) + len(general), len(general)
    places = np.zeros(rows, dtype=np.bool_)
    places[((2 * np.arange(count) + 1) * rows) // (2 * max(1, count))] = True
    order = np.empty(rows, dtype=np.int64)
    order[places], order[~places] = general, domain
    return order
