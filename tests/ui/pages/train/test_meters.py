"""The meters of a run on the Train page."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from studio.runner.record import RunRecord
from studio.ui.pages.train.meters import MeterStrip
from studio.ui.plots.timeline import Timeline
from tests.screenshots.scripted import scripted_events, scripted_record, with_meters


@pytest.fixture
def strip(dressed: object, qtbot: QtBot) -> MeterStrip:
    strip = MeterStrip(Timeline())
    strip._timeline.setParent(strip)
    qtbot.addWidget(strip)
    return strip


def _show(strip: MeterStrip, record: RunRecord) -> set[str]:
    strip._timeline.restart(record.state.step)
    strip.show_record(record)
    return {key for key, cell in strip.cells.items() if not cell.isHidden()}


def test_a_run_without_meters_has_no_strip(strip: MeterStrip) -> None:
    _show(strip, scripted_record())
    assert strip.isHidden()


def test_without_a_gpu_only_the_computer_is_shown_with_the_memory_that_the_trial_held(strip: MeterStrip) -> None:
    shown = _show(strip, scripted_record(with_meters(scripted_events(), gpu=False)))
    assert not strip.isHidden()
    assert shown == {"processor", "memory", "process_memory"}
    assert strip.cells["process_memory"].spark.level == 1_610_000_000
    assert strip.cells["memory"].text == "Memory in use: 9.1 GB of 32 GB"


def test_a_gpu_is_shown_with_the_reason_that_it_is_slowed_down(strip: MeterStrip) -> None:
    events = with_meters(scripted_events())
    shown = _show(strip, scripted_record(events))
    assert shown == {"gpu_use", "gpu_memory", "gpu_temperature", "gpu_power", "processor", "memory"}
    assert strip.throttled.whole_text == "The GPU was slowed down in 19 samples. Now it is not."
    newest = next(at for at, event in enumerate(events) if getattr(event, "step", 0) == 170.5)
    _show(strip, scripted_record(events[: newest + 1]))
    assert strip.throttled.whole_text == "The GPU was slowed down in 10 samples. Now: power limit."


def test_the_values_follow_the_cursor_of_the_charts(strip: MeterStrip) -> None:
    _show(strip, scripted_record(with_meters(scripted_events())))
    newest = strip.cells["gpu_temperature"].text
    strip._timeline.set_cursor(10)
    early = strip.cells["gpu_temperature"].text
    assert (early, newest) == ("GPU temperature: 46 °C", "GPU temperature: 76 °C")
    strip._timeline.set_cursor(None)
    assert strip.cells["gpu_temperature"].text == newest
