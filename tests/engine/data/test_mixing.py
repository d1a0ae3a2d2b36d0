"""Which rows are held out, and in which order the others are trained on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from studio.engine.data.mixing import TrainingOrder
from studio.engine.data.split import held_out


@pytest.mark.parametrize("mixing", ["shuffle", "alternate"])
@pytest.mark.parametrize(("domain", "general", "ratio"), [(80, 50, 0.2), (7, 3, 0.5), (5, 400, 0.9), (40, 1, 0.1)])
def test_an_epoch_has_every_domain_row_once_and_the_share_of_general_rows(
    mixing: str, domain: int, general: int, ratio: float
) -> None:
    order = TrainingOrder(domain, general, ratio, mixing, seed=3)  # type: ignore[arg-type]
    rehearsed = round(domain * ratio / (1 - ratio))
    assert order.rows_per_epoch == domain + rehearsed
    for epoch in range(4):
        rows = order.epoch(epoch)
        assert sorted(rows[rows < domain]) == list(range(domain))
        assert len(rows) == domain + rehearsed
        assert rows.max() < domain + general


def test_general_rows_take_turns_over_the_epochs() -> None:
    order = TrainingOrder(40, 25, 0.2, "shuffle", seed=0)
    seen = Counter(int(row) for epoch in range(5) for row in order.epoch(epoch) if row >= 40)
    assert set(seen.values()) == {2}  # 5 epochs of 10 general rows, 25 of them


def test_alternating_spreads_general_rows_evenly() -> None:
    rows = TrainingOrder(80, 20, 0.2, "alternate", seed=0).epoch(0)
    places = np.flatnonzero(rows >= 80)
    assert set(np.diff(places)) == {5}


def test_the_order_hangs_on_seed_and_epoch_alone() -> None:
    first, second = (TrainingOrder(30, 10, 0.2, "shuffle", seed=5) for _ in range(2))
    second.epoch(0)
    np.random.seed(1)
    assert (first.epoch(2) == second.epoch(2)).all()
    assert (first.epoch(0) != first.epoch(1)).any()
    assert (first.epoch(0) != TrainingOrder(30, 10, 0.2, "shuffle", seed=6).epoch(0)).any()


@pytest.mark.parametrize("mixing", ["shuffle", "alternate"])
def test_every_seed_and_every_epoch_has_its_own_order_of_domain_rows(mixing: str) -> None:
    def domain_rows(seed: int, epoch: int) -> tuple[int, ...]:
        rows = TrainingOrder(30, 10, 0.2, mixing, seed=seed).epoch(epoch)  # type: ignore[arg-type]
        return tuple(rows[rows < 30].tolist())

    assert len({domain_rows(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_the_global_random_numbers_are_left_alone() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    TrainingOrder(30, 10, 0.2, "shuffle", seed=5).epoch(0)
    held_out(np.arange(20), 0.2, seed=0)
    assert (np.random.get_state()[1] == before).all()


def test_without_general_rows_an_epoch_is_the_domain() -> None:
    order = TrainingOrder(5, 0, 0.0, "alternate", seed=0)
    assert sorted(order.epoch(0)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "fraction", "held"), [(100, 0.05, 5), (2, 0.05, 1), (3, 0.5, 2), (2, 0.5, 1), (1, 0.5, 0), (100, 0.0, 0)]
)
def test_the_share_is_held_out_and_one_row_at_least_where_there_are_two(rows: int, fraction: float, held: int) -> None:
    assert held_out(np.arange(rows), fraction, seed=0).sum() == held


@pytest.mark.parametrize("seed", range(20))
def test_equal_rows_stay_on_one_side(seed: int) -> None:
    digests = np.array([1, 1, 1, 2, 2, 3, 4, 5, 5, 6])
    held = held_out(digests, 0.3, seed)
    assert not set(digests[held]) & set(digests[~held])
    assert 1 <= held.sum() <= 3


def test_rows_that_are_all_equal_are_all_trained_on() -> None:
    assert not held_out(np.array([7, 7, 7, 7]), 0.5, seed=0).any()


def test_the_choice_hangs_on_the_seed_and_not_on_what_the_rows_hash_to() -> None:
    assert (held_out(np.arange(50), 0.2, 1) == held_out(np.arange(50)[::-1].copy(), 0.2, 1)).all()
    assert (held_out(np.arange(50), 0.2, 1) != held_out(np.arange(50), 0.2, 2)).any()
