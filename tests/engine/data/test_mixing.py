"""Which rows are held out, and in which order the others are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from studio.config.data import Mixing
from studio.engine.data.mixing import SourceRows, TrainingOrder, apportion
from studio.engine.data.split import held_out

MIXINGS: tuple[Mixing, ...] = ("shuffle", "alternate", "blocks")


def ordered(
    domain: int, general: int, ratio: float, mixing: Mixing, seed: int = 0, block_rows: int = 64
) -> TrainingOrder:
    """The order of one domain and one general source."""
    return TrainingOrder([SourceRows(domain)], [SourceRows(general)], ratio, mixing, seed, block_rows)


def weighed(*sources: tuple[int, float]) -> list[SourceRows]:
    return [SourceRows(rows, weight) for rows, weight in sources]


def by_source(rows: np.ndarray, sizes: Sequence[int]) -> list[int]:
    """How many of the rows are of each source, by the sizes of all sources in the order of the store."""
    return np.bincount(np.searchsorted(np.cumsum(sizes), rows, side="right"), minlength=len(sizes)).tolist()


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize(("domain", "general", "ratio"), [(80, 50, 0.2), (7, 3, 0.5), (5, 400, 0.9), (40, 1, 0.1)])
def test_an_epoch_has_every_domain_row_once_and_the_share_of_general_rows(
    mixing: Mixing, domain: int, general: int, ratio: float
) -> None:
    order = ordered(domain, general, ratio, mixing, seed=3, block_rows=3)
    rehearsed = round(domain * ratio / (1 - ratio))
    assert order.rows_per_epoch == domain + rehearsed
    for epoch in range(4):
        rows = order.epoch(epoch)
        assert sorted(rows[rows < domain]) == list(range(domain))
        assert len(rows) == domain + rehearsed
        assert rows.max() < domain + general


@pytest.mark.parametrize(
    ("mixing", "epochs"),
    [
        (
            "shuffle",
            [[6, 10, 4, 1, 5, 2, 0, 3], [3, 4, 2, 7, 0, 5, 1, 9], [0, 2, 3, 7, 1, 5, 4, 8], [5, 4, 0, 2, 3, 1, 8, 10]],
        ),
        (
            "alternate",
            [[3, 1, 6, 4, 5, 2, 10, 0], [4, 0, 9, 5, 3, 1, 7, 2], [4, 3, 8, 2, 0, 5, 7, 1], [0, 1, 10, 4, 2, 3, 8, 5]],
        ),
    ],
)
@pytest.mark.parametrize("domain", [[6], [2, 4], [1, 5, 0]])
@pytest.mark.parametrize("general", [[5], [4, 1], [0, 2, 3]])
def test_with_weights_of_1_the_order_is_that_of_the_version_before_however_the_rows_are_divided_into_files(
    mixing: Mixing, epochs: list[list[int]], domain: list[int], general: list[int]
) -> None:
    """Printed by the version that had no weights, for 6 domain and 5 general rows, a share of a quarter, seed 11."""
    order = TrainingOrder([*map(SourceRows, domain)], [*map(SourceRows, general)], 0.25, mixing, seed=11)
    assert [order.epoch(epoch).tolist() for epoch in range(4)] == epochs


@pytest.mark.parametrize("mixing", MIXINGS)
def test_every_source_has_the_rows_of_its_weight_in_every_epoch(mixing: Mixing) -> None:
    sizes = [(40, 1.0), (10, 3.0), (21, 0.5), (1, 0.2)]
    order = TrainingOrder(weighed(*sizes), [], 0.0, mixing, seed=5)
    assert order.domain_per_epoch == (40, 30, 10, 1)
    for epoch in range(5):
        assert by_source(order.epoch(epoch), [rows for rows, _ in sizes]) == [40, 30, 10, 1]
    thrice = order.epoch(2)
    assert set(Counter(thrice[(thrice >= 40) & (thrice < 50)].tolist()).values()) == {3}


def test_half_of_the_rows_take_turns_with_the_other_half() -> None:
    order = TrainingOrder(weighed((20, 1.0), (10, 0.5)), [], 0.0, "shuffle", seed=1)
    seen = Counter(int(row) for epoch in range(6) for row in order.epoch(epoch) if row >= 20)
    assert sorted(seen) == list(range(20, 30))
    assert set(seen.values()) == {3}


@pytest.mark.parametrize("mixing", MIXINGS)
def test_general_sources_divide_the_share_by_rows_and_weight_to_the_row(mixing: Mixing) -> None:
    sizes = [(1000, 1.0), (30, 10.0), (1, 2.0)]
    order = TrainingOrder(weighed((90, 1.0)), weighed(*sizes), 0.25, mixing, seed=2)
    assert order.general_per_epoch == 30
    exact = [Fraction(30 * rows * int(weight), 1000 + 300 + 2) for rows, weight in sizes]
    assert order.general_shares() == pytest.approx([float(share) for share in exact])
    total = np.zeros(3)
    for epoch in range(60):
        rows = order.epoch(epoch)
        counts = by_source(rows, [90, *(rows for rows, _ in sizes)])
        assert sum(counts[1:]) == 30
        total += counts[1:]
        assert all(abs(have - share * (epoch + 1)) <= 1 for have, share in zip(total, exact, strict=True))
    assert total[2] > 0  # the one row of the tiny source has its turns as well


def test_general_files_of_one_weight_are_one_pool() -> None:
    order = TrainingOrder(weighed((40, 1.0)), weighed((19, 2.0), (6, 2.0)), 0.2, "shuffle", seed=0)
    seen = Counter(int(row) for epoch in range(5) for row in order.epoch(epoch) if row >= 40)
    assert (len(seen), set(seen.values())) == (25, {2})  # 5 epochs of 10 general rows, 25 of them


def test_without_a_general_share_the_weights_of_general_rows_have_no_say() -> None:
    order = TrainingOrder(weighed((9, 1.0)), weighed((3, 5.0), (4, 0.1)), 0.0, "blocks", seed=0, block_rows=2)
    assert sorted(order.epoch(3).tolist()) == list(range(9))


@pytest.mark.parametrize(
    "shares", [[1.0], [3.0, 1.0], [0.1] * 9, [97.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 50.0], [5.0, 1e-6]]
)
def test_shares_are_within_a_row_and_never_shrink_when_the_total_grows(shares: list[float]) -> None:
    before = [0] * len(shares)
    for total in range(300):
        given = apportion(total, shares)
        assert sum(given) == total
        assert all(abs(have - total * share / sum(shares)) <= 1 for have, share in zip(given, shares, strict=True))
        assert all(now >= then for now, then in zip(given, before, strict=True))
        before = given


def test_blocks_alternate_and_keep_the_share_to_the_row() -> None:
    order = ordered(70, 100, 0.3, "blocks", seed=4, block_rows=16)
    for epoch in range(3):
        general = order.epoch(epoch) >= 70
        borders = np.flatnonzero(np.diff(general)) + 1
        blocks = np.split(general, borders)
        assert [bool(block[0]) for block in blocks] == [False, True] * 5
        assert [len(block) for block in blocks[::2]] == [16, 16, 16, 16, 6]
        assert [len(block) for block in blocks[1::2]] == [7, 7, 7, 6, 3]  # 30·16/70, 30·32/70 … rounded, in all 30


def test_blocks_of_a_small_share_are_rounded_over_the_epoch() -> None:
    general = ordered(100, 9, 0.03, "blocks", block_rows=10).epoch(0) >= 100
    assert general.sum() == 3  # fewer general rows than blocks: some blocks have none behind them
    assert np.diff(np.flatnonzero(general)).min() > 20


@pytest.mark.parametrize("mixing", MIXINGS)
def test_an_epoch_can_be_asked_for_in_any_order(mixing: Mixing) -> None:
    """A resumed run begins in the middle."""
    sources = weighed((31, 1.0), (7, 0.4)), weighed((12, 1.0), (3, 4.0))
    whole, resumed = (TrainingOrder(*sources, 0.3, mixing, seed=9, block_rows=5) for _ in range(2))
    epochs = [whole.epoch(epoch).tolist() for epoch in range(6)]
    assert [resumed.epoch(epoch).tolist() for epoch in (5, 2, 4, 0)] == [epochs[epoch] for epoch in (5, 2, 4, 0)]


def test_general_rows_take_turns_over_the_epochs() -> None:
    order = ordered(40, 25, 0.2, "shuffle", seed=0)
    seen = Counter(int(row) for epoch in range(5) for row in order.epoch(epoch) if row >= 40)
    assert set(seen.values()) == {2}  # 5 epochs of 10 general rows, 25 of them


def test_alternating_spreads_general_rows_evenly() -> None:
    rows = ordered(80, 20, 0.2, "alternate", seed=0).epoch(0)
    places = np.flatnonzero(rows >= 80)
    assert set(np.diff(places)) == {5}


def test_the_order_hangs_on_seed_and_epoch_alone() -> None:
    first, second = (ordered(30, 10, 0.2, "shuffle", seed=5) for _ in range(2))
    second.epoch(0)
    np.random.seed(1)
    assert (first.epoch(2) == second.epoch(2)).all()
    assert (first.epoch(0) != first.epoch(1)).any()
    assert (first.epoch(0) != ordered(30, 10, 0.2, "shuffle", seed=6).epoch(0)).any()


@pytest.mark.parametrize("mixing", MIXINGS)
def test_every_seed_and_every_epoch_has_its_own_order_of_domain_rows(mixing: Mixing) -> None:
    def domain_rows(seed: int, epoch: int) -> tuple[int, ...]:
        rows = ordered(30, 10, 0.2, mixing, seed=seed).epoch(epoch)
        return tuple(rows[rows < 30].tolist())

    assert len({domain_rows(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_the_global_random_numbers_are_left_alone() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    ordered(30, 10, 0.2, "shuffle", seed=5).epoch(0)
    held_out(np.arange(20), 0.2, seed=0)
    assert (np.random.get_state()[1] == before).all()


def test_without_general_rows_an_epoch_is_the_domain() -> None:
    order = ordered(5, 0, 0.0, "alternate", seed=0)
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
