"""A journal of 100,000 steps, read from disk: what happened in one step is seen at every zoom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from studio.runner.record import RunRecord
from studio.runs import Journal, create_run
from studio.ui import theme
from studio.ui.plots.lane.events import SKIPPED
from studio.ui.plots.lane.lane import EventLane
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.loss import LossChart
from studio.ui.plots.scale import ScaleChart
from studio.ui.plots.timeline import Timeline
from tests.ui.plots.conftest import Show, step_event

STEPS, NAN = 100_000, 5000
WIDTHS = [102_000, 50_000, 9_000, 1_000, 100, 4]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Step 5,000 is nan and was skipped; its scale halved, and was back one step later."""
    folder = create_run(tmp_path_factory.mktemp("runs"), "long", "")
    with Journal(folder.journal) as journal:
        for step in range(1, STEPS + 1):
            bad, after = step == NAN, step == NAN + 1
            journal.append(
                step_event(
                    step,
                    update=step - (step >= NAN),
                    loss=math.nan if bad else 2.0 + 0.1 * (step % 7),
                    grad_norm=math.inf if bad else 0.5,
                    grad_scale=32768.0 if after else 65536.0,
                    skipped=bad,
                )
            )
    return RunRecord.of_folder(folder)


def _zoomed(show: Show, kind: type[LineChart], record: RunRecord, timeline: Timeline, width: float) -> LineChart:
    chart = show(kind, record)
    timeline.zoom(width / timeline.width, at=NAN)
    chart.draw()
    assert timeline.first <= NAN <= timeline.last
    return chart


def _columns_of(chart: LineChart, colour: QColor) -> np.ndarray:
    """The columns of pixels, within the view, in which a colour was painted."""
    image = chart.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.bytesPerLine() // 4)
    corner = chart.mapFromScene(chart.view.sceneBoundingRect().topLeft())
    return np.flatnonzero((pixels == colour.rgb()).any(axis=0)) / chart.devicePixelRatioF() - corner.x()


def test_the_journal_is_read_whole(record: RunRecord, qtbot: QtBot) -> None:
    assert len(record.series["loss"]) == STEPS
    assert record.skips == [NAN]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_loss_marks_its_one_nan(show: Show, timeline: Timeline, record: RunRecord, width: float) -> None:
    chart = _zoomed(show, LossChart, record, timeline, width)
    columns = _columns_of(chart, theme.palette().bad)
    assert np.abs(columns - float(chart.view.pixel_of(NAN))).min() <= 2.0


@pytest.mark.parametrize("width", WIDTHS)
def test_the_scale_draws_its_one_lower_step(show: Show, timeline: Timeline, record: RunRecord, width: float) -> None:
    chart = _zoomed(show, ScaleChart, record, timeline, width)
    x, y = chart.curves[0].item.getData()
    assert (NAN + 1, 15.0) in set(zip(x, y, strict=True))
    low, high = chart.view.viewRange()[1]
    assert low < 15.0 < 16.0 < high


@pytest.mark.parametrize("width", WIDTHS)
def test_the_lane_has_a_tick_for_its_one_skip(show: Show, timeline: Timeline, record: RunRecord, width: float) -> None:
    lane = _zoomed(show, EventLane, record, timeline, width)
    assert isinstance(lane, EventLane)
    at = float(lane.view.pixel_of(NAN))
    assert np.abs(_columns_of(lane, theme.palette().bad) - at).min() <= 1.5
    event = lane.event_near(at, SKIPPED)
    assert event is not None
    assert event.text == "step 5,000 was skipped: scale 65,536 (2¹⁶) → 32,768 (2¹⁵)"
