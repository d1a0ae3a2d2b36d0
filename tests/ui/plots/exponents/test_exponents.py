"""The exponent histogram: the line that is dragged says what another loss scale would do."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent
from pytestqt.qtbot import QtBot

from studio.exponents import BF16, FP16, Histogram
from studio.ui import theme
from studio.ui.plots.exponents.view import ExponentView
from studio.ui.plots.exponents.words import ZONES, best_text, recorded_text, share_of, zone_of
from tests.runner.test_numerics import histogram_of

NUMBERS = 2.0 ** np.random.default_rng(1).normal(-22.0, 5.0, 50_000)
LARGEST = float(NUMBERS.max())


@pytest.fixture
def view(qtbot: QtBot) -> ExponentView:
    """Gradients round 2⁻²², recorded without loss of any, at scale 2⁴."""
    result = ExponentView()
    qtbot.addWidget(result)
    result.resize(480, 260)
    with qtbot.waitExposed(result):
        result.show()
    result.show_histogram(histogram_of(NUMBERS), 16.0, LARGEST)
    return result


def _drag(view: ExponentView, begin: QPoint, end: QPoint) -> None:
    """Press, move and release; QTest's moves carry no buttons."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, place, button, buttons in (
        (QEvent.Type.MouseButtonPress, begin, left, left),
        (QEvent.Type.MouseMove, end, none, left),
        (QEvent.Type.MouseButtonRelease, end, left, none),
    ):
        where = QPointF(place)
        event = QMouseEvent(kind, where, view.mapToGlobal(where), button, buttons, Qt.KeyboardModifier.NoModifier)
        theme.application().sendEvent(view, event)


def _on_ruler(view: ExponentView, exponent: float) -> QPoint:
    places = view.places()
    return QPoint(round(places.scale_x(exponent)), round(places.ruler.center().y()))


def test_the_present_scale_is_shown_until_another_is_asked_for(view: ExponentView) -> None:
    assert view.scale == 16.0
    assert view.explored is None
    view.show_histogram(histogram_of(NUMBERS), 32.0, LARGEST)
    assert view.scale == 32.0


@pytest.mark.parametrize("exponent", [0, 8, 16, 24])
def test_dragging_the_line_predicts_what_rounding_to_fp16_really_does(view: ExponentView, exponent: int) -> None:
    _drag(view, _on_ruler(view, 4), _on_ruler(view, exponent))
    assert view.scale == 2.0**exponent
    assert view.shares is not None
    with np.errstate(over="ignore", under="ignore"):
        rounded = (NUMBERS * view.scale).astype(np.float16)
    assert view.shares.zero == pytest.approx(float((rounded == 0).mean()), abs=0.02)
    assert view.shares.overflow == pytest.approx(float(np.isinf(rounded).mean()), abs=0.02)


def test_dragging_the_histogram_moves_the_numbers_with_the_mouse(view: ExponentView) -> None:
    places = view.places()
    begin = places.plot.center().toPoint()
    end = begin + QPoint(round(6 * places.exponent_width), 0)
    _drag(view, begin, end)
    assert view.scale == 2.0**10


def test_keys_double_and_halve_the_scale_and_find_the_present_and_the_best(view: ExponentView, qtbot: QtBot) -> None:
    for key, expected in ((Qt.Key.Key_Right, 5), (Qt.Key.Key_Left, 4), (Qt.Key.Key_Left, 3), (Qt.Key.Key_PageUp, 7)):
        qtbot.keyClick(view, key)
        assert view.scale == 2.0**expected
    qtbot.keyClick(view, Qt.Key.Key_Home)
    assert view.explored is None
    qtbot.keyClick(view, Qt.Key.Key_End)
    assert view.best is not None
    assert view.scale == 2.0 ** view.best[1]


def test_the_line_stays_on_the_ruler(view: ExponentView, qtbot: QtBot) -> None:
    for _ in range(60):
        qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.scale == 1.0
    view.explore(500)
    assert view.scale == 2.0 ** view.range[1]


def test_a_huge_initial_scale_is_on_the_ruler(view: ExponentView) -> None:
    view.show_histogram(histogram_of(NUMBERS), 1e38, LARGEST)
    assert view.range[1] >= 126
    view.grab()


def test_what_was_zero_when_recorded_stays_zero_at_every_scale(view: ExponentView) -> None:
    view.show_histogram(histogram_of(np.concatenate([np.zeros(1000), np.ones(1000)])), 65536.0)
    for exponent in (0, 10, 14):
        view.explore(exponent)
        assert view.shares is not None
        assert view.shares.zero == 0.5
    assert view.histogram is not None
    assert (
        recorded_text(view.histogram, 65536.0) == "50 % were zero when recorded at 2¹⁶; they stay zero at every scale."
    )


def test_where_all_was_flushed_no_scale_is_called_hopeless(view: ExponentView) -> None:
    view.show_histogram(histogram_of(np.zeros(1000)), 1.0)
    assert view.words().endswith(
        "No scale can be told best from this sample. What was flushed at 2⁰ left no trace; a run at a larger scale shows it."
    )


def test_a_smaller_scale_than_the_recorded_one_loses_at_least_what_is_shown(view: ExponentView) -> None:
    histogram = histogram_of(np.ones(1000))
    assert recorded_text(histogram, 65536.0, 65536.0) == recorded_text(histogram, None, 4.0) == ""
    assert recorded_text(histogram, 65536.0, 1024.0).startswith("At least")


def test_what_was_not_finite_counts_as_overflow_and_that_is_said(view: ExponentView) -> None:
    histogram = histogram_of(np.array([1.0, 1.0, 1.0, np.inf]))
    view.show_histogram(histogram, None)
    assert view.shares is not None
    assert view.shares.overflow == 0.25
    assert "25 % were not finite when recorded" in view.accessibleDescription()


def test_bf16_keeps_what_fp16_flushes(view: ExponentView) -> None:
    view.explore(0)
    flushed = view.shares
    view.show_format(BF16)
    assert flushed is not None
    assert view.shares is not None
    assert flushed.zero > 0.2
    assert view.shares.zero == view.shares.overflow == 0
    assert "need no scale" in best_text(view.best, BF16)


def test_the_picture_is_described_in_words(view: ExponentView) -> None:
    view.explore(16)
    words = view.accessibleDescription()
    assert words.startswith("At scale 65,536 (2¹⁶), in fp16: zero ")
    assert "Best: 2" in words


@pytest.mark.parametrize(
    ("exponent", "zone"),
    [(-26, "zero"), (-25, "subnormal"), (-15, "subnormal"), (-14, "normal"), (15, "normal"), (16, "overflow")],
)
def test_zones_begin_where_fp16_says(exponent: int, zone: str) -> None:
    assert zone_of(exponent, FP16).key == zone
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.float16(1.5 * 2.0**exponent)
    kinds = {"zero": rounded == 0, "overflow": np.isinf(rounded), "subnormal": 0 < rounded < 2.0**-14}
    assert kinds.get(zone, np.isfinite(rounded) and rounded >= 2.0**-14)


def test_bars_have_the_colours_of_their_zones(view: ExponentView) -> None:
    def colour_at(exponent: float) -> QColor:
        image = view.grab().toImage()
        places = view.places()
        ratio = image.width() / view.width()
        x, y = places.exponent_x(exponent + 0.4), places.plot.bottom() - 4
        return QColor(image.pixel(int(x * ratio), int(y * ratio)))

    names = {zone.key: getattr(theme.palette(), zone.colour).name() for zone in ZONES}
    view.explore(4)
    assert colour_at(-28).name() == names["zero"]
    assert colour_at(-20).name() == names["subnormal"]
    assert colour_at(-10).name() == names["normal"]
    view.explore(32)
    assert colour_at(17).name() == names["overflow"]


def test_less_than_half_a_number_is_none() -> None:
    assert share_of(1e-9, 1_000_000) == "0 %"
    assert share_of(1e-6, 1_000_000) == "0.0001 %"


def test_a_message_stands_where_there_is_no_histogram(view: ExponentView, qtbot: QtBot) -> None:
    view.show_histogram(None, None, message="Waiting")
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.shares is None
    assert view.accessibleDescription() == "Waiting"
    view.grab()


def test_a_histogram_of_zeros_alone_is_drawn(view: ExponentView) -> None:
    view.show_histogram(Histogram(first=0, counts=(), zeros=5), None)
    view.grab()
    assert view.shares is not None
    assert view.shares.zero == 1.0
