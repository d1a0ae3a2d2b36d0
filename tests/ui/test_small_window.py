"""In a window of 960 x 540 no figure is cut, and everything can be scrolled to."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui.main_window import MainWindow
from studio.ui.pages.numerics.page import NumericsPage
from studio.ui.pages.train.page import TrainPage
from tests.screenshots.scripted import scripted_record
from tests.screenshots.scripted_numerics import chronic_overflow


@pytest.fixture
def small(window: MainWindow) -> MainWindow:
    window.resize(960, 540)
    window.context.record = scripted_record()
    return window


def test_the_plots_keep_their_height_and_the_log_is_scrolled_to(small: MainWindow, qtbot: QtBot) -> None:
    small.go_to("train")
    page = small.pages["train"]
    assert isinstance(page, TrainPage)
    assert page.area.horizontalScrollBar().maximum() == 0
    assert min(panel.chart.height() for panel in page.plots.panels.values()) >= 60
    lane, counts = page.plots.lane, page.plots.counts
    assert lane.geometry().bottom() <= counts.geometry().top() + 1
    page.log.open()
    qtbot.waitUntil(lambda: page.log.text.visibleRegion().boundingRect().height() == page.log.text.height())


def test_the_name_of_a_module_does_not_widen_the_verdict(
    dressed: QApplication, small: MainWindow, qtbot: QtBot
) -> None:
    small.resize(1024, 640)
    small.context.record = chronic_overflow()
    small.go_to("numerics")
    page = small.pages["numerics"]
    assert isinstance(page, NumericsPage)
    qtbot.waitUntil(lambda: page.events.x() > page.histogram.geometry().right())
    inside = page.events.sentence.parentWidget()
    assert inside.width() <= inside.parentWidget().width()


def test_the_verdict_has_a_row_of_its_own_where_it_would_be_cut(small: MainWindow, qtbot: QtBot) -> None:
    small.go_to("numerics")
    page = small.pages["numerics"]
    assert isinstance(page, NumericsPage)
    assert page.events.width() == page.modules.width()
    small.resize(1280, 800)
    qtbot.waitUntil(lambda: page.events.x() > page.histogram.geometry().right())
