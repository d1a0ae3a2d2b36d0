"""What a chart shows, whatever the zoom, the theme and the hand on the keyboard."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QStackedWidget, QWidget
from pytestqt.qtbot import QtBot

from studio.events import EvaluationCompleted
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.ui import theme
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.loss import LossChart
from studio.ui.plots.metrics import GradNormChart, LearningRateChart, SpeedChart
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.timeline import Timeline
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import ElidedLabel
from tests.ui.plots.conftest import Show, record_of, step_event

SPIKE = 42_000


def _long_record(steps: int = 100_000) -> RunRecord:
    """A record of many steps with one NaN at step 5,000 and one spike; the series alone, which is what charts read."""
    record = record_of([step_event(1)])
    series = MetricSeries()
    for step in range(1, steps + 1):
        series.append(step, math.nan if step == 5000 else 50.0 if step == SPIKE else 2.0 + 0.1 * (step % 7))
    record.series["loss"] = series
    record.apply(step_event(steps))
    return record


@pytest.fixture(scope="module")
def long_record() -> RunRecord:
    return _long_record()


def _colours(chart: LineChart, rows: int) -> set[tuple[int, int, int]]:
    """The colours in the topmost rows of the view."""
    image: QImage = chart.grab().toImage()
    corner = chart.mapFromScene(chart.view.sceneBoundingRect().topLeft())
    places = ((x, y) for x in range(corner.x(), image.width()) for y in range(corner.y() + 1, corner.y() + rows))
    return {QColor(image.pixel(x, y)).getRgb()[:3] for x, y in places}


def _marked_columns(chart: LineChart) -> np.ndarray:
    """Where along the top edge the marks for values that are not finite are painted."""
    return chart.overlay.columns_of(np.concatenate([marks.not_finite for marks in chart.overlay.marks]))


@pytest.mark.parametrize("width", [102_000, 50_000, 9_000, 1_000, 100, 4])
def test_a_single_nan_among_100_000_steps_is_marked_at_every_zoom(
    show: Show, timeline: Timeline, long_record: RunRecord, width: float
) -> None:
    chart = show(LossChart, long_record)
    timeline.zoom(width / timeline.width, at=5000)
    chart.draw()
    assert timeline.first <= 5000 <= timeline.last
    marks = _marked_columns(chart)
    assert len(marks) == 1
    assert marks[0] == pytest.approx(float(chart.view.pixel_of(5000)), abs=2.0)
    assert theme.palette().bad.getRgb()[:3] in _colours(chart, rows=6)


def test_no_mark_stands_where_every_value_in_view_is_finite(
    show: Show, timeline: Timeline, long_record: RunRecord
) -> None:
    chart = show(LossChart, long_record)
    timeline.zoom(0.01, at=80_000)
    chart.draw()
    assert not len(_marked_columns(chart))


@pytest.mark.parametrize("width", [102_000, 20_000, 500, 8])
def test_a_spike_of_one_step_is_drawn_at_every_zoom(
    show: Show, timeline: Timeline, long_record: RunRecord, width: float
) -> None:
    chart = show(LossChart, long_record)
    timeline.zoom(width / timeline.width, at=SPIKE)
    chart.draw()
    x, y = chart.curves[0].item.getData()
    assert (SPIKE, 50.0) in set(zip(x, y, strict=True))
    assert chart.view.viewRange()[1][1] > 50.0


def test_at_most_two_points_a_pixel_are_drawn(show: Show, long_record: RunRecord) -> None:
    chart = show(LossChart, long_record)
    for curve in chart.curves:
        assert len(curve.item.getData()[0] if curve.item.getData()[0] is not None else ()) <= 2 * chart.width()


def test_ten_thousand_nans_are_one_mark_a_column_and_none_is_lost(show: Show) -> None:
    chart = show(LossChart, record_of(step_event(step, loss=math.nan) for step in range(1, 10_001)))
    marks = _marked_columns(chart)
    assert 10 < len(marks) <= chart.width()
    assert np.diff(marks).max() == pytest.approx(2.0)


def test_a_run_of_nothing_but_nan_is_drawn_and_described(show: Show) -> None:
    chart = show(LossChart, record_of(step_event(step, loss=math.nan) for step in range(1, 4)))
    assert "3 values are not finite, the first at step 1" in chart.summary()


def test_infinite_norms_are_marked_at_the_top_and_zero_at_the_bottom(show: Show) -> None:
    norms = {1: math.inf, 2: 0.0, 3: 0.7}
    chart = show(GradNormChart, record_of(step_event(step, grad_norm=norm) for step, norm in norms.items()))
    marks = chart.overlay.marks[0]
    assert list(marks.not_finite) == [1]
    assert list(marks.not_positive) == [2]


def test_the_clip_limit_is_in_view_when_the_norms_come_near_it(show: Show) -> None:
    chart = show(GradNormChart, record_of(step_event(step, grad_norm=0.3) for step in range(1, 9)))
    assert isinstance(chart, GradNormChart)
    chart.set_limit(1.0)
    chart.draw()
    low, high = chart.view.viewRange()[1]
    assert low < math.log10(0.3) < 0.0 < high


def test_the_norm_after_clipping_is_read_out_where_it_is_another(show: Show) -> None:
    norms = ((2.5, 1.0), (0.5, 0.5), (math.inf, math.inf), (0.7, None))
    events = [step_event(n, grad_norm=norm, grad_norm_clipped=clipped) for n, (norm, clipped) in enumerate(norms, 1)]
    chart = show(GradNormChart, record_of(events))
    assert [chart.reading(step) for step in (1, 2, 3, 4)] == ["2.50 → 1.00", "0.5000", "∞", "0.7000"]
    assert "Clipped in 1 of 3 steps" in chart.summary()


def test_the_newest_step_stays_in_view_while_the_run_grows(show: Show, timeline: Timeline) -> None:
    record = record_of(step_event(step) for step in range(1, 101))
    chart = show(LossChart, record)
    for step in range(101, 301):
        record.apply(step_event(step))
    timeline.grow(300)
    chart.draw()
    assert chart.view.viewRange()[0][1] >= 300


def test_charts_on_one_timeline_look_at_the_same_steps(show: Show, timeline: Timeline) -> None:
    record = record_of(step_event(step) for step in range(1, 501))
    one, other = show(LossChart, record), show(SpeedChart, record)
    timeline.zoom(0.1, at=250)
    one.draw()
    other.draw()
    assert one.view.viewRange()[0] == other.view.viewRange()[0]
    assert one.view.viewRange()[0][0] > 200


def test_the_raw_values_at_the_cursor_are_read_out(show: Show, timeline: Timeline, qtbot: QtBot) -> None:
    losses = {1: 2.5, 2: 1.75, 3: math.nan}
    chart = show(LossChart, record_of(step_event(step, loss=loss) for step, loss in losses.items()))
    for step, text in ((2, "training 1.750"), (3, "training NaN")):
        with qtbot.waitSignal(chart.read) as read:
            timeline.set_cursor(step)
        assert read.args[0].startswith(f"step {step}: {text}")


def test_without_a_cursor_the_newest_values_are_read_out(show: Show, timeline: Timeline, qtbot: QtBot) -> None:
    chart = show(LossChart, record_of([step_event(1, loss=2.5), step_event(2, loss=1.75)]))
    timeline.set_cursor(1)
    with qtbot.waitSignal(chart.read) as read:
        timeline.set_cursor(None)
    assert "training 1.750" in read.args[0]


def test_the_validation_before_the_cursor_is_named_with_its_step(show: Show) -> None:
    evaluation = EvaluationCompleted(step=2, update=2, loss=1.5, rows=4, supervised_tokens=40, seconds=1.0)
    chart = show(LossChart, record_of([step_event(1), step_event(2), evaluation, step_event(3)]))
    assert "validation 1.500 (step 2)" in chart.reading(3)
    assert chart.reading(2).endswith("validation 1.500")


def test_keys_pan_zoom_fit_and_move_the_cursor(show: Show, timeline: Timeline, qtbot: QtBot) -> None:
    chart = show(LossChart, record_of(step_event(step) for step in range(1, 501)))
    whole = timeline.width
    for key in (Qt.Key.Key_Plus, Qt.Key.Key_Plus, Qt.Key.Key_Plus):
        qtbot.keyClick(chart, key)
    assert timeline.width < whole / 2
    right = timeline.last
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert timeline.last < right
    qtbot.keyClick(chart, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert timeline.cursor == 499
    qtbot.keyClick(chart, Qt.Key.Key_Minus)
    chart.fit()
    assert timeline.whole


@pytest.mark.qt_log_ignore('Mouse event "')  # pyqtgraph's scene takes clicks without accepting them
def test_a_double_click_fits_the_run(show: Show, timeline: Timeline, qtbot: QtBot) -> None:
    chart = show(LossChart, record_of(step_event(step) for step in range(1, 501)))
    timeline.zoom(0.1, at=100)
    middle = chart.mapFromScene(chart.view.sceneBoundingRect().center())
    qtbot.mouseDClick(chart.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseRelease(chart.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert timeline.whole


def test_moving_the_mouse_moves_the_cursor_and_leaving_takes_it_away(
    show: Show, timeline: Timeline, qtbot: QtBot
) -> None:
    chart = show(LossChart, record_of(step_event(step) for step in range(1, 101)))
    qtbot.mouseMove(chart.viewport(), chart.mapFromScene(chart.view.sceneBoundingRect().center()))
    assert timeline.cursor == pytest.approx(50, abs=2)
    theme.application().sendEvent(chart, QEvent(QEvent.Type.Leave))
    assert timeline.cursor is None


def test_a_hidden_chart_does_not_draw_until_it_is_shown(show: Show, qtbot: QtBot) -> None:
    record = record_of(step_event(step) for step in range(1, 11))
    chart = show(LossChart, record)
    chart.hide()
    record.apply(step_event(11))
    chart.refresh()
    theme.application().processEvents()
    assert len(chart.curves[0].item.getData()[0]) == 10
    chart.show()
    qtbot.waitUntil(lambda: len(chart.curves[0].item.getData()[0]) == 11)


def test_smoothing_is_the_mean_of_the_last_steps_and_can_be_switched_off(show: Show) -> None:
    chart = show(LossChart, record_of(step_event(step, loss=float(step)) for step in range(1, 11)))
    assert isinstance(chart, LossChart)
    chart.set_window(4)
    chart.draw()
    assert chart.mean.at(10) == pytest.approx((7 + 8 + 9 + 10) / 4)
    chart.set_window(1)
    chart.draw()
    assert not len(chart.mean.series)
    assert chart.raw.at(10) == 10.0


def test_the_picture_is_told_in_words_and_the_words_keep_up(show: Show, qtbot: QtBot) -> None:
    record = record_of([step_event(1, loss=2.5), step_event(2, loss=1.5)])
    chart = show(LossChart, record)
    assert chart.accessibleName() == "Loss"
    assert chart.accessibleDescription() == "Training: now 1.500, lowest 1.500, highest 2.500."
    record.apply(step_event(3, loss=3.5))
    chart.refresh()
    qtbot.waitUntil(lambda: "highest 3.500" in chart.accessibleDescription())


def test_a_chart_without_a_record_says_so(show: Show) -> None:
    chart = show(LossChart, RunRecord())
    assert chart.overlay.message == "Waiting for the first step…"
    chart.show_record(None)
    chart.draw()
    assert chart.overlay.message == "Nothing to plot yet"
    assert not chart.value_axis.isVisible()


def test_the_theme_recolours_background_curves_and_axes(show: Show) -> None:
    chart = show(LossChart, record_of([step_event(1), step_event(2)]))
    theme.choose("dark")
    assert chart.backgroundBrush().color() == theme.DARK.surface
    assert chart.value_axis.textPen().color() == theme.DARK.muted
    assert chart.curves[1].item.opts["pen"].color() == theme.DARK.series_1
    theme.choose("light")
    assert chart.backgroundBrush().color() == theme.LIGHT.surface


def test_a_panel_explains_the_mark_once_there_is_one(qtbot: QtBot, timeline: Timeline) -> None:
    record = record_of([step_event(1)])
    panel = ChartPanel(LossChart(timeline))
    qtbot.addWidget(panel)
    panel.show_record(record)
    assert panel.legend.names() == ["Training", "Validation"]
    record.apply(step_event(2, loss=math.inf))
    panel.refresh()
    assert panel.legend.names() == ["Training", "Validation", "not finite"]


@pytest.mark.parametrize("kind", [LossChart, GradNormChart, SpeedChart, LearningRateChart])
def test_a_series_of_one_point_shows_its_point(show: Show, kind: type[LineChart]) -> None:
    chart = show(kind, record_of([step_event(1)]))
    assert isinstance(chart, LineChart)
    x, _ = chart.curves[0].dots.getData()
    assert list(x) == [1.0]
    assert chart.record is not None
    chart.record.apply(step_event(2))
    chart.draw()
    assert len(chart.curves[0].dots.getData()[0]) == 0  # two points have a line


@pytest.mark.parametrize("width", [260, 320, 700])
def test_the_values_that_are_read_are_never_cut(
    dressed: QApplication, qtbot: QtBot, timeline: Timeline, width: int
) -> None:
    panel = ChartPanel(GradNormChart(timeline))
    qtbot.addWidget(panel)
    panel.chart.set_limit(1.0)  # type: ignore[attr-defined]
    panel.resize(width, 300)
    with qtbot.waitExposed(panel):
        panel.show()
    timeline.restart(2)
    panel.show_record(record_of([step_event(1, grad_norm=math.inf), step_event(2, grad_norm=1.5)]))
    panel.chart.draw()
    shown = panel.findChild(ElidedLabel)
    qtbot.waitUntil(lambda: shown.text() == shown.whole_text != "")
    assert panel.legend.isVisible() == (width == 700)


class _Paints(QObject):
    """Counts how often each of the widgets that it filters is painted."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[QObject] = Counter()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.of[watched] += event.type() == QEvent.Type.Paint
        return False


def test_a_page_that_is_shown_again_paints_its_charts_once(qtbot: QtBot, timeline: Timeline) -> None:
    stack, page = QStackedWidget(), QWidget()
    qtbot.addWidget(stack)
    charts = [kind(timeline) for kind in (LossChart, GradNormChart, SpeedChart)]
    vbox(*charts, parent=page)
    stack.addWidget(QWidget())
    stack.addWidget(page)
    for chart in charts:
        chart.show_record(record_of([step_event(1), step_event(2)]))
    with qtbot.waitExposed(stack):
        stack.show()
    stack.activateWindow()
    qtbot.waitUntil(stack.isActiveWindow)

    def painted() -> list[int]:
        paints, viewports = _Paints(), [chart.viewport() for chart in charts]
        for viewport in viewports:
            viewport.installEventFilter(paints)
        stack.setCurrentIndex(1)
        qtbot.waitUntil(lambda: all(paints.of[viewport] for viewport in viewports))
        for _ in range(5):  # what painting itself has asked for
            QApplication.processEvents()
        stack.setCurrentIndex(0)
        return [paints.of[viewport] for viewport in viewports]

    painted()  # draws them for the first time
    assert painted() == [1, 1, 1]
