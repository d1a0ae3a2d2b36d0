"""A compact sample reads as the one it was made from."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

from studio.events import NumericsSampled, from_json, to_json
from studio.exponents import Histogram
from studio.runner.record import as_recorded, compact
from tests.runner.test_numerics import histogram_of, sample

LISTS = [field.name for field in dataclasses.fields(NumericsSampled) if field.type == "Sequence[float]"]


def _brief(value: float) -> float:
    return float(f"{value:.5g}")


def _recorded(modules: int = 300) -> NumericsSampled:
    """Shares and largest values with five digits, as the recorder rounds them, from a journal."""
    chance = np.random.default_rng(0)
    lists: dict[str, object] = {
        name: [*(_brief(10.0**power) for power in chance.uniform(-9, 0, modules - 2)), math.nan, 0.0] for name in LISTS
    }
    lists["gradient_largest"] = [_brief(10.0**power) for power in chance.uniform(-80, 60, modules)]
    counts = histogram_of(2.0 ** chance.normal(-20, 6, 100_000)).to_dict()
    return from_json(to_json(sample(7, parameters=counts, gradients=counts, **lists)))  # type: ignore[return-value]


def test_nothing_is_lost_of_what_was_recorded() -> None:
    before = _recorded()
    after = compact(before)
    for name in LISTS:
        assert as_recorded(after, name) == pytest.approx(getattr(before, name), rel=0, abs=0, nan_ok=True)
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-7)
    assert Histogram.from_dict(after.parameters) == Histogram.from_dict(before.parameters)
    assert (after.step, after.grad_scale, after.because) == (before.step, before.grad_scale, before.because)


def test_a_compact_sample_can_be_written_to_a_journal() -> None:
    after = compact(_recorded())
    assert from_json(to_json(after)).step == 7  # type: ignore[union-attr]


def test_it_takes_a_fraction_of_the_room() -> None:
    def room(make: object) -> int:
        tracemalloc.start()
        kept = [make(_recorded()) for _ in range(20)]  # type: ignore[operator]
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(kept) == 20
        return taken

    assert room(compact) < room(lambda one: one) / 5
