"""Steps are laid out by their number, by updates, by tokens or by training time, and are found again there."""

from __future__ import annotations

import numpy as np
import pytest

from studio.runner.record import RunRecord
from studio.runner.ruler import Measure, Ruler
from tests.ui.plots.conftest import record_of, step_event


@pytest.fixture
def record() -> RunRecord:
    """Three attempts of which the second is skipped; the third reads twice as many tokens."""
    return record_of(
        [
            step_event(1, tokens=100, seconds=1.0),
            step_event(2, update=1, tokens=100, seconds=1.0, skipped=True),
            step_event(3, update=2, tokens=200, seconds=4.0),
        ]
    )


@pytest.mark.parametrize(
    ("measure", "places"),
    [
        ("step", [0, 1, 2, 3, 6]),
        ("update", [0, 1, 1, 2, 4]),
        ("tokens", [0, 100, 200, 400, 800]),
        ("seconds", [0, 1, 2, 6, 12]),
    ],
)
def test_steps_stand_where_they_were_made_and_beyond_them_at_the_mean_pace(
    record: RunRecord, measure: Measure, places: list[float]
) -> None:
    assert list(Ruler(record, measure).places(np.array([0, 1, 2, 3, 6]))) == places


@pytest.mark.parametrize("measure", ["step", "tokens", "seconds"])
def test_a_step_is_found_again_at_its_place(record: RunRecord, measure: Measure) -> None:
    ruler = Ruler(record, measure)
    assert ruler.steps(ruler.places(2.5)) == pytest.approx(2.5)


def test_the_ruler_of_a_run_that_grows_grows_with_it(record: RunRecord) -> None:
    ruler = Ruler(record, "tokens")
    assert ruler.places(3) == 400
    record.apply(step_event(4, update=3, tokens=50))
    assert ruler.places(4) == 450


def test_before_the_first_step_every_ruler_counts_steps() -> None:
    assert Ruler(RunRecord(), "tokens").places(7) == 7
