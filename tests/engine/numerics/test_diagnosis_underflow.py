"""How many gradients fp16 flushed, against numpy's own flush; and the verdict, which zeros by nature must not bring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from studio.engine.numerics.flushed import flushed
from studio.exponents import Histogram
from tests.engine.numerics.diagnosis_streams import Step, counted, play, rounded, run_config

COUNT = 20_000
Family = Callable[[np.random.Generator], np.ndarray]


def layers(spread: float) -> Family:
    """Gradients of 200 tensors, normal in each, whose sizes differ by powers of two."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return (rng.standard_normal((200, COUNT // 200)) * 2.0 ** (spread * rng.standard_normal((200, 1)))).ravel()

    return draw


FAMILIES: dict[str, Family] = {
    "normal": lambda rng: rng.standard_normal(COUNT),
    "laplace": lambda rng: rng.laplace(size=COUNT),
    "student": lambda rng: rng.standard_t(3, COUNT),
    "lognormal": lambda rng: np.exp2(3.0 * rng.standard_normal(COUNT)) * rng.choice([-1.0, 1.0], COUNT),
    "layers": layers(2.0),
    "wide layers": layers(3.0),
}
# Around 65536 × 2^size = 2^-24 the first are lost; far above nothing is, far below all is.
KEPT = [-10, -16, -28, -33]
HALF_LOST = [-40, -42]
LOST = [-45, -50]


def gradients(family: str, seed: int, size: int, structural: float) -> np.ndarray:
    """`structural`: share of all entries that are zero at any scale, as embedding rows of absent tokens are."""
    values = FAMILIES[family](np.random.default_rng(seed)) * 2.0**size
    return np.concatenate([values, np.zeros(int(COUNT * structural / (1 - structural)))])


@pytest.mark.parametrize("structural", [0.0, 0.67, 0.95])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [*KEPT, -36, -38, *HALF_LOST, *LOST])
def test_the_estimated_loss_is_near_the_true_one_when_it_matters(family: str, size: int, structural: float) -> None:
    before = gradients(family, 1, size, structural)
    after = rounded(before, 65536.0)
    truly = ((before != 0) & (after == 0)).sum() / (before != 0).sum()
    estimate = flushed(counted(after), 65536.0).share
    assert (estimate >= 0.2) == (truly >= 0.2) or 0.12 < truly < 0.3
    if truly < 0.05:
        assert estimate < 0.1
    if truly > 0.6:
        assert estimate > 0.5


def test_without_zeros_nothing_was_lost_and_with_nothing_else_all_was() -> None:
    assert flushed(Histogram(first=-24, counts=(5, 5, 5)), 1.0).share == 0.0
    assert flushed(Histogram(first=0, counts=(0,), zeros=100), 1.0).share == 1.0
    assert flushed(Histogram(first=0, counts=()), 1.0).share == 0.0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1.0, 3.0, 4096.0, 1e6])
def test_the_suggested_raise_does_keep_the_gradients(family: str, scale: float) -> None:
    before = gradients(family, 3, -27, 0.5) / scale
    found = flushed(counted(rounded(before, scale)), scale)
    raised = rounded(before, scale * 2.0**found.octaves)
    assert found.share > 0.2
    # Bins are powers of two, so the edge of another scale is blurred, and so is the estimate.
    assert ((before != 0) & (raised == 0)).sum() / (before != 0).sum() < (0.2 if scale == 3.0 else 0.06)


@pytest.mark.parametrize("structural", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("scaling", "every"), [("dynamic", 20), ("static", 1), ("off", 50)])
def test_gradients_below_fp16_are_an_underflow(scaling: str, every: int, family: str, structural: float) -> None:
    config = run_config(loss_scaling=scaling, initial_scale=16.0)
    size = -28 - (4 if scaling != "off" else 0)
    outcome = play(
        config,
        lambda batch: Step(small=gradients(family, batch, size, structural) if batch % every == 0 else None),
        attempts=every * 3,
    )
    assert outcome.names == ["underflow"]
    assert outcome.verdicts[0].remedies[0] == ("raise_scale" if scaling == "dynamic" else "use_dynamic_scaling")


@pytest.mark.parametrize("structural", [0.0, 0.67, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_that_are_zero_by_nature_are_no_underflow(family: str, structural: float) -> None:
    for size in KEPT:
        outcome = play(run_config(), lambda batch, size=size: Step(small=gradients(family, batch, size, structural)), 4)
        assert outcome.verdicts == []


def test_loras_first_step_in_which_all_of_a_has_no_gradient_is_no_underflow() -> None:
    def at(batch: int) -> Step:
        return Step(small=gradients("layers", batch, -12, 0.5 if batch == 0 else 0.0))

    assert play(run_config(), at, attempts=20).verdicts == []


def test_one_strange_batch_is_no_underflow() -> None:
    outcome = play(
        run_config(), lambda batch: Step(small=gradients("layers", batch, -50 if batch % 3 == 2 else -15, 0)), 30
    )
    assert outcome.verdicts == []


def test_gradients_that_are_all_zero_are_an_underflow_even_without_samples() -> None:
    outcome = play(run_config(loss_scaling="off"), lambda batch: Step(grad_norm=0.0), attempts=30)
    assert outcome.names == ["underflow"]
    assert outcome.verdicts[0].evidence["share"] == 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_formats_with_the_range_of_fp32_have_no_underflow(precision: str) -> None:
    small = gradients("layers", 0, -45, 0.3)
    assert play(run_config(precision), lambda batch: Step(small=small), attempts=30).verdicts == []


def test_a_scale_that_cannot_grow_is_not_to_be_raised() -> None:
    """The scale was searched down from where it overflowed, and small gradients are lost all the same."""

    def at(batch: int) -> Step:
        return Step(largest=40.0, small=gradients("layers", batch, -38, 0.2))

    outcome = play(run_config(), at, attempts=40)
    assert outcome.harmful == ["underflow"]
    verdict = outcome.verdicts[-1] if outcome.verdicts[-1].harmful else outcome.verdicts[0]
    assert verdict.evidence["suggested_scale"] is None
    assert verdict.remedies == ["use_bf16", "use_fp32"]
    assert "larger scale would overflow" in verdict.advice


def lost_on_the_way(flowing_size: int, lost: float) -> Callable[[int], Step]:
    """A part of the parameters receives nothing; the gradients of the others are far from fp16's edge."""

    def at(batch: int) -> Step:
        return Step(small=gradients("layers", batch, -20, lost), flowing=gradients("layers", batch, flowing_size, 0.6))

    return at


def test_gradients_flushed_on_their_way_to_the_parameters_are_an_underflow() -> None:
    outcome = play(run_config(loss_scaling="static", initial_scale=4.0), lost_on_the_way(-30, 0.5), attempts=20)
    assert outcome.names == ["underflow"]
    assert outcome.verdicts[0].evidence["suggested_scale"] >= 64.0


def test_small_gradients_on_the_way_are_no_underflow_while_all_parameters_learn() -> None:
    config = run_config(loss_scaling="static", initial_scale=4.0)
    assert play(config, lost_on_the_way(-30, 0.05), attempts=20).verdicts == []


def test_parameters_without_gradients_are_no_underflow_while_nothing_is_lost_on_the_way() -> None:
    assert play(run_config(), lost_on_the_way(-16, 0.9), attempts=20).verdicts == []
