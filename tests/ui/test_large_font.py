"""At 1024 x 640 with a font of 150 per cent no page cuts a button or scrolls sideways, in any language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QLineEdit, QScrollArea, QWidget
from pytestqt.qtbot import QtBot

from studio.i18n import LANGUAGES, set_language
from studio.ui import theme
from studio.ui.actions import PAGES
from studio.ui.dialogs.hub.search import FindOnHub
from studio.ui.main_window import MainWindow
from tests.screenshots.scripted import scripted_record, scripted_runs


@pytest.fixture(params=LANGUAGES)
def large(request: pytest.FixtureRequest, dressed: QApplication) -> Iterator[MainWindow]:
    set_language(request.param)
    theme.set_font_size(150)
    theme.choose("light")
    window: MainWindow = request.getfixturevalue("window")
    window.resize(1024, 640)
    window.context.record = scripted_record()
    window.context.record.folder = scripted_runs(window.context.runs_root)[0]
    yield window
    set_language("en")
    theme.set_font_size(theme.USUAL_FONT)
    theme.choose("light")  # or what is made next would have the large style


def _has_words(button: QAbstractButton) -> bool:
    return button.isVisible() and bool(button.text()) and not isinstance(button.parentWidget(), QLineEdit)


def _cut(button: QAbstractButton) -> bool:
    parent, hint = button.parentWidget(), button.sizeHint()
    return (
        button.width() < hint.width()
        or button.height() < hint.height() - 1
        or not parent.rect().contains(button.geometry())
    )


def _scrolls_sideways(area: QScrollArea) -> bool:
    return area.isVisible() and area.horizontalScrollBar().maximum() > 0


def _overlap(one: QWidget, other: QWidget) -> bool:
    return one.parentWidget() is other.parentWidget() and one.geometry().intersects(other.geometry())


def test_no_button_is_cut_and_no_page_scrolls_sideways(large: MainWindow, qtbot: QtBot) -> None:
    for name in PAGES:
        large.go_to(name)
        for _ in range(3):
            large.context.join()
            large.context.tick()
            QApplication.processEvents()
        page = large.pages[name]
        areas = [area.accessibleName() for area in page.findChildren(QScrollArea) if _scrolls_sideways(area)]
        assert not areas, name
        buttons = [one for one in large.findChildren(QAbstractButton) if _has_words(one)]
        assert not [button.text() for button in buttons if _cut(button)], name
        assert not [one.text() for one in buttons for other in buttons if one is not other and _overlap(one, other)], (
            name
        )


@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its menus
def test_what_is_hidden_on_the_runs_page_stands_in_its_menu(large: MainWindow, qtbot: QtBot) -> None:
    large.go_to("runs")
    page = large.pages["runs"]
    qtbot.waitUntil(lambda: page.rows.rowCount() > 0)
    assert not page.delete.isVisible()
    page.more.click()
    menu = QApplication.activePopupWidget()
    assert menu is not None
    assert page.delete.accessibleName() in [action.text() for action in menu.actions()]
    menu.close()
    large.resize(1900, 900)
    qtbot.waitUntil(lambda: page.delete.isVisible() and not page.more.isVisible())


def test_the_settings_of_a_hub_lie_below_each_other_and_not_over_each_other(large: MainWindow, qtbot: QtBot) -> None:
    dialog = FindOnHub(large.context, "model", large)
    with qtbot.waitExposed(dialog):
        dialog.open()
    dialog.hub.open()
    words = [one for one in dialog.findChildren(QLabel) if one.isVisible() and one.wordWrap()]
    qtbot.waitUntil(lambda: all(one.height() >= one.heightForWidth(one.width()) for one in words))
    dialog.close()
