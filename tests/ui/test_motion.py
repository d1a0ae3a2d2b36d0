"""Where motion is reduced nothing in the window moves by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QAbstractAnimation
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui import motion
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from studio.ui.widgets.progress import ShareBar


@pytest.fixture(autouse=True)
def _motion_afterwards(dressed: QApplication) -> Iterator[None]:
    yield
    motion.reduce(False)


def _moves(bar: ShareBar) -> bool:
    bar.repaint()
    return any(one.state() == QAbstractAnimation.State.Running for one in bar.findChildren(QAbstractAnimation))


def test_a_bar_without_an_end_stands_still_and_moves_again(qtbot: QtBot) -> None:
    bar = ShareBar()
    qtbot.addWidget(bar)
    bar.show_share(0, 0)
    with qtbot.waitExposed(bar):
        bar.show()
    assert _moves(bar)
    motion.reduce(True)
    assert not _moves(bar)
    assert bar.value() == bar.maximum() > 0
    assert bar.property("still")
    bar.show_share(1, 4)
    assert (bar.value(), bar.maximum(), bar.property("still")) == (250, 1000, False)
    bar.show_share(0, 0)
    motion.reduce(False)
    assert _moves(bar)


def test_the_text_cursor_does_not_blink(dressed: QApplication) -> None:
    usual = dressed.cursorFlashTime()
    motion.reduce(True)
    assert dressed.cursorFlashTime() == 0
    motion.reduce(False)
    assert dressed.cursorFlashTime() == usual > 0


def test_the_choice_of_the_menu_is_remembered(window: MainWindow, tmp_path: Path) -> None:
    action = window.actions_by_name["reduce_motion"]
    assert window.context.settings.reduce_motion is None
    assert not action.isChecked()
    action.trigger()
    assert motion.reduced()
    window.context.settings.save()
    assert Settings(tmp_path / "settings.ini").reduce_motion is True
    action.trigger()
    assert not motion.reduced()
    assert window.context.settings.reduce_motion is False


def test_the_menu_shows_what_the_desktop_answers(window: MainWindow) -> None:
    motion.reduce(True)
    assert window.actions_by_name["reduce_motion"].isChecked()
    assert window.context.settings.reduce_motion is None
