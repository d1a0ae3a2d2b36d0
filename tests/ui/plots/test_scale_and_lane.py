"""The gradient scale and the lane of events under it: every skipped step can be found."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from studio.events import EvaluationCompleted, NumericsStarted, OverflowDiagnosed
from studio.runner.record import RunRecord
from studio.runs import create_run
from studio.ui.plots.lane.events import GROWTH, SKIPPED, VALIDATION, VERDICT
from studio.ui.plots.lane.lane import EventLane
from studio.ui.plots.scale import ScaleChart, scale_figure
from studio.ui.plots.timeline import Timeline
from tests.ui.plots.conftest import Show, record_of, step_event

VERDICT_EVENT = OverflowDiagnosed(
    step=4, verdict="scale_search", harmful=False, sentence="normal scale search at the start", advice="", evidence={}
)


def _searching() -> RunRecord:
    """Three skips that halve the scale, then a steady run with two validations."""
    events: list[object] = [step_event(s, skipped=True, update=0, grad_scale=2.0 ** (17 - s)) for s in (1, 2, 3)]
    events += [step_event(step, update=step - 3, grad_scale=2.0**13) for step in range(4, 41)]
    events += [EvaluationCompleted(step=40, update=37, loss=1.5, rows=4, supervised_tokens=40, seconds=1.0)]
    return record_of(events)


def _lane(show: Show, record: RunRecord) -> EventLane:
    lane = show(EventLane, record)
    assert isinstance(lane, EventLane)
    return lane


def test_the_scale_is_drawn_in_steps_of_powers_of_two(show: Show) -> None:
    chart = show(ScaleChart, _searching())
    x, y = chart.curves[0].item.getData()
    assert list(zip(x[:4], y[:4], strict=True)) == [(1, 16), (2, 15), (3, 14), (4, 13)]
    assert chart.curves[0].item.opts["stepMode"] == "right"


def test_a_precision_without_loss_scaling_says_so(show: Show) -> None:
    chart = show(ScaleChart, record_of([step_event(1, grad_scale=None)]))
    assert "needs no loss scaling" in chart.overlay.message


def test_fp16_whose_scaling_is_switched_off_says_that(show: Show) -> None:
    started = NumericsStarted(modules=["a"], compute="fp16", every=1)
    chart = show(ScaleChart, record_of([started, step_event(1, grad_scale=None)]))
    assert chart.overlay.message.startswith("Loss scaling is switched off: the scale is 1.")
    assert scale_figure(chart.record.state) == ("1", "switched off")


def test_the_reading_names_the_scale_before_and_after_a_skip(show: Show) -> None:
    chart = show(ScaleChart, _searching())
    assert chart.reading(2) == "32,768 → 16,384 (2¹⁴)"
    assert chart.reading(20) == "8,192 (2¹³)"


def test_every_skipped_step_has_a_tick_and_says_what_it_did(show: Show) -> None:
    lane = _lane(show, _searching())
    assert len(lane.overlay.tick_pixels()) == 3  # type: ignore[attr-defined]
    near = lane.event_near(float(lane.view.pixel_of(1)), SKIPPED)
    assert near is not None
    assert near.text == "step 1 was skipped: scale 65,536 (2¹⁶) → 32,768 (2¹⁵)"


def test_a_skip_without_scaling_says_why(show: Show) -> None:
    lane = _lane(show, record_of([step_event(1, grad_scale=None, skipped=True, update=0)]))
    assert lane.event_at(1, SKIPPED).text == "step 1 was skipped: a gradient was not finite"


def test_dense_skips_merge_but_a_lone_one_never_vanishes(show: Show, timeline: Timeline) -> None:
    record = record_of([step_event(1)])
    record.skips.extend([*range(1000, 6000), 77_777])
    record.apply(step_event(100_000))
    lane = _lane(show, record)
    pixels = lane.overlay.tick_pixels()  # type: ignore[attr-defined]
    assert len(pixels) < lane.width()
    assert np.abs(pixels - float(lane.view.pixel_of(77_777))).min() <= 1.0
    timeline.zoom(0.0001, at=77_777)
    lane.draw()
    assert len(lane.overlay.tick_pixels()) == 1  # type: ignore[attr-defined]


def test_nothing_is_near_where_nothing_happened(show: Show) -> None:
    lane = _lane(show, _searching())
    assert lane.event_near(float(lane.view.pixel_of(20))) is None


def test_validations_and_verdicts_have_their_rows(show: Show) -> None:
    record = _searching()
    record.apply(VERDICT_EVENT)
    lane = _lane(show, record)
    assert lane.event_at(40, VALIDATION).text == "validation after step 40: loss 1.500"
    assert lane.event_at(4, VERDICT).text == "normal scale search at the start"
    assert list(lane.marks.harmless) == [4]
    assert not len(lane.marks.harmful)


def test_counts_are_plain_until_there_is_a_verdict(show: Show) -> None:
    record = _searching()
    lane = _lane(show, record)
    assert lane.counts() == "3 skipped of 40 attempted"
    record.apply(VERDICT_EVENT)
    assert lane.counts() == "3 skipped of 40 attempted: Search of the loss scale"
    assert lane.summary() == lane.counts()


def test_page_keys_go_from_event_to_event(show: Show, timeline: Timeline, qtbot: QtBot) -> None:
    lane = _lane(show, _searching())
    for expected in (1, 2, 3, 40, 40):
        qtbot.keyClick(lane, Qt.Key.Key_PageDown)
        assert timeline.cursor == expected
    qtbot.keyClick(lane, Qt.Key.Key_PageUp)
    assert timeline.cursor == 3


def _scales(*scales: float) -> RunRecord:
    """One step for each scale; a step whose scale is not smaller in the next one was applied."""
    pairs = enumerate(zip(scales, (*scales[1:], scales[-1] * 2), strict=True), start=1)
    return record_of(step_event(step, grad_scale=now, skipped=later <= now) for step, (now, later) in pairs)


def test_a_growth_of_the_scale_is_an_event(show: Show) -> None:
    lane = _lane(show, _scales(4.0, 8.0, 4.0))
    assert list(lane.marks.in_row(GROWTH)) == [2]
    assert lane.event_at(2, GROWTH).text == "step 2 tried a larger scale: 4 (2²) → 8 (2³)"


def test_a_skip_at_the_floor_says_that_the_scale_can_fall_no_further(show: Show, tmp_path: Path) -> None:
    record = _scales(2.0, 1.0, 1.0)
    record.folder = create_run(tmp_path, "r", '[model]\npath = "m"\n[[data.sources]]\npath = "d"\n')
    lane = _lane(show, record)
    assert list(lane.marks.floor) == [2]
    assert lane.event_at(1, SKIPPED).text == "step 1 was skipped: scale 2 (2¹) → 1 (2⁰)"
    assert lane.event_at(2, SKIPPED).text == "step 2 was skipped, and the scale stays at its floor, 1 (2⁰)"


@pytest.mark.parametrize(
    ("scales", "words"),
    [
        ((64.0, 64.0), "step 1 was skipped: its loss was NaN, which leaves the scale at 64 (2⁶)"),
        ((None, None), "step 1 was skipped: its loss was NaN"),
    ],
)
def test_a_skip_for_a_loss_that_is_no_number_says_so(
    show: Show, scales: tuple[float | None, float | None], words: str
) -> None:
    first = step_event(1, loss=math.nan, skipped=True, grad_scale=scales[0])
    lane = _lane(show, record_of([first, step_event(2, grad_scale=scales[1])]))
    assert lane.event_at(1, SKIPPED).text == words
    assert not len(lane.marks.floor)


def test_a_skip_that_a_static_scale_does_not_answer_says_so(show: Show) -> None:
    lane = _lane(show, record_of([step_event(1, grad_scale=64.0, skipped=True), step_event(2, grad_scale=64.0)]))
    assert lane.event_at(1, SKIPPED).text == "step 1 was skipped, and the scale stays at 64 (2⁶)"


def test_good_and_bad_verdicts_are_found_whichever_came_first(show: Show) -> None:
    record = record_of(step_event(step) for step in range(1, 401))
    for step, harmful in ((50, False), (100, True), (300, False), (350, True)):
        record.apply(dataclasses.replace(VERDICT_EVENT, step=step, harmful=harmful))
    lane = _lane(show, record)
    found = [lane.event_near(float(lane.view.pixel_of(step)), VERDICT) for step in (50, 100, 300, 350)]
    assert [event and event.step for event in found] == [50, 100, 300, 350]


@pytest.mark.parametrize("row", [VERDICT, VALIDATION, GROWTH, SKIPPED])
def test_every_kind_of_event_can_be_clicked(show: Show, qtbot: QtBot, row: int) -> None:
    record = _searching()
    record.apply(VERDICT_EVENT)
    record.apply(step_event(41, grad_scale=2.0**14))
    lane = _lane(show, record)
    step = int(lane.marks.in_row(row)[0])
    place = lane.view.mapToScene(float(lane.view.pixel_of(step)), lane.overlay.height_of(row + 0.5))
    with qtbot.waitSignal(lane.picked) as picked:
        qtbot.mouseClick(lane.viewport(), Qt.MouseButton.LeftButton, pos=lane.mapFromScene(place))
    assert picked.args == [lane.event_at(step, row)]


def test_a_click_beside_all_events_picks_none(show: Show, qtbot: QtBot) -> None:
    lane = _lane(show, _searching())
    place = lane.view.mapToScene(float(lane.view.pixel_of(20)), lane.overlay.height_of(0.5))
    with qtbot.waitSignal(lane.picked) as picked:
        qtbot.mouseClick(lane.viewport(), Qt.MouseButton.LeftButton, pos=lane.mapFromScene(place))
    assert picked.args == [None]


def test_a_drag_that_begins_on_an_event_picks_nothing(show: Show, qtbot: QtBot) -> None:
    lane = _lane(show, _searching())
    begin = lane.mapFromScene(lane.view.mapToScene(float(lane.view.pixel_of(1)), lane.overlay.height_of(SKIPPED + 0.5)))
    with qtbot.assertNotEmitted(lane.picked):
        qtbot.mousePress(lane.viewport(), Qt.MouseButton.LeftButton, pos=begin)
        qtbot.mouseRelease(lane.viewport(), Qt.MouseButton.LeftButton, pos=begin + QPoint(60, 0))


def test_another_run_begins_without_the_marks_of_the_one_before(show: Show) -> None:
    lane = _lane(show, _searching())
    lane.show_record(record_of([step_event(1)]))
    assert lane.event_near(float(lane.view.pixel_of(1))) is None


def test_enter_picks_the_event_under_the_cursor(show: Show, qtbot: QtBot) -> None:
    lane = _lane(show, _searching())
    qtbot.keyClick(lane, Qt.Key.Key_PageDown)
    with qtbot.waitSignal(lane.picked) as picked:
        qtbot.keyClick(lane, Qt.Key.Key_Return)
    assert picked.args == [lane.event_at(1, SKIPPED)]


def test_lane_and_scale_stand_in_line(show: Show) -> None:
    record = _searching()
    scale, lane = show(ScaleChart, record), show(EventLane, record)
    assert scale.value_axis.width() == lane.value_axis.width()


@pytest.mark.parametrize("value", [0.0, math.inf])
def test_a_scale_that_cannot_be_drawn_is_marked_all_the_same(show: Show, value: float) -> None:
    chart = show(ScaleChart, record_of([step_event(1), step_event(2, grad_scale=value), step_event(3)]))
    marks = chart.overlay.marks[0]
    assert [*marks.not_finite, *marks.not_positive] == [2]
