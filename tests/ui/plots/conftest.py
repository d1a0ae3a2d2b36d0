"""A shown chart with a record of this test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.events import StepCompleted
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import TimelinePlot

Show = Callable[[type[TimelinePlot], RunRecord], TimelinePlot]


@pytest.fixture(autouse=True)
def _light(qapp: QApplication) -> None:
    theme.install(qapp, "light")


@pytest.fixture
def timeline(qapp: QApplication) -> Timeline:
    return Timeline()


@pytest.fixture
def show(qtbot: QtBot, timeline: Timeline) -> Show:
    """Return a function that shows a chart of a record, drawn."""

    def make(kind: type[TimelinePlot], record: RunRecord) -> TimelinePlot:
        chart = kind(timeline)  # type: ignore[call-arg, arg-type]
        qtbot.addWidget(chart)
        chart.resize(640, 260)
        with qtbot.waitExposed(chart):
            chart.show()
        timeline.restart(record.state.step)
        chart.show_record(record)
        chart.draw()
        return chart

    return make


def step_event(step: int, **changes: object) -> StepCompleted:
    """Return an unremarkable step, changed as asked."""
    values: dict[str, object] = {
        "step": step, "update": step, "epoch": 0.1, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 0.5,
        "grad_scale": 65536.0, "skipped": False, "tokens": 100, "supervised_tokens": 60, "micro_batches": 1,
        "seconds": 0.5,
    }  # fmt: skip
    return StepCompleted(**(values | changes))  # type: ignore[arg-type]


def record_of(events: Iterable[object]) -> RunRecord:
    """Return the record of some events."""
    record = RunRecord()
    for event in events:
        record.apply(event)  # type: ignore[arg-type]
    return record
