"""A combo box whose text is longer than its room."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QStyleOptionComboBox
from pytestqt.qtbot import QtBot

from studio.ui import theme
from studio.ui.widgets.combo import ComboBox

LONG = "SmolLM2-135M-Instruct · LoRA · fp16-mixed · 2026-11-24 22:33"


@pytest.mark.usefixtures("dressed")
@pytest.mark.parametrize(("width", "ends"), [(200, "…"), (900, "22:33")])
def test_a_text_without_room_ends_in_an_ellipsis(qtbot: QtBot, width: int, ends: str) -> None:
    combo = ComboBox([("run", LONG)])
    qtbot.addWidget(combo)
    combo.resize(width, 33)
    combo.show()
    option = QStyleOptionComboBox()
    combo.initStyleOption(option)
    assert option.currentText.endswith(ends)
    assert combo.value() == "run"
    assert combo.currentText() == LONG


@pytest.mark.usefixtures("dressed")
@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its popups
@pytest.mark.parametrize("count", [2, 6, 10])
def test_the_list_has_one_frame_and_shows_its_last_entry_whole(qtbot: QtBot, count: int) -> None:
    combo = ComboBox([(str(number), f"Mean of {number} steps") for number in range(count)])
    qtbot.addWidget(combo)
    combo.resize(240, 33)
    combo.show()
    combo.showPopup()
    view = combo.view()
    qtbot.waitUntil(view.isVisible)
    last = view.visualRect(view.model().index(count - 1, 0))
    assert view.viewport().rect().contains(last)
    popup = view.window()
    picture = popup.grab().toImage()
    edges = {QColor(picture.pixel(x, popup.height() // 2)).name() for x in (0, popup.width() - 1)}
    assert len(edges) == 1
    assert edges != {theme.palette().surface.name()}
    within = {QColor(picture.pixel(x, last.center().y() + view.y())).name() for x in (1, 2, popup.width() - 2)}
    assert within == {theme.palette().surface.name()}
    combo.hidePopup()


def test_the_same_choices_again_touch_nothing(qtbot: QtBot) -> None:
    """A list may have thousands of runs, and is offered again at every visit of its page."""
    choices = [("a", "First"), ("b", "Second")]
    combo = ComboBox(choices)
    qtbot.addWidget(combo)
    combo.set_value("b")
    with qtbot.assertNotEmitted(combo.model().rowsInserted), qtbot.assertNotEmitted(combo.model().rowsRemoved):
        combo.set_choices(iter(choices))
    assert combo.value() == "b"
    combo.set_choices([("b", "Second"), ("c", "Third")])
    assert (combo.value(), combo.count()) == ("b", 2)
