"""The losses of several runs over each other."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.plots.overlaid import OverlaidChart
from studio.ui.plots.timeline import Timeline
from tests.ui.plots.conftest import record_of, step_event


@pytest.mark.parametrize(
    ("losses", "told"),
    [((2.0, 1.0), "again 2.000   again 1.000"), ((2.0, 2.0), "2.000")],
    ids=["two values", "the same value"],
)
def test_two_runs_of_one_name_are_both_read(
    qtbot: QtBot, timeline: Timeline, losses: tuple[float, float], told: str
) -> None:
    chart = OverlaidChart(["again", "again"], timeline)
    qtbot.addWidget(chart)
    chart.show_runs([record_of([step_event(1, loss=loss)]) for loss in losses])
    assert chart.reading(1) == told
