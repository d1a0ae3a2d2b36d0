"""A name such as `<img src="file:///x">` is drawn as it is written, in every label, tooltip and message box."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QToolTip, QWidget
from pytestqt.qtbot import QtBot

from studio.ui.main_window import MainWindow
from studio.ui.plain_text import PlainText
from tests.ui.fakes import choose

HOSTILE = '<img src="file:///etc/hostname"><b>bold</b>'


@pytest.fixture(autouse=True)
def rule(qapp: QApplication) -> None:
    if not qapp.findChildren(PlainText):
        PlainText(qapp)


def _guessing(root: QWidget) -> list[str]:
    """The texts of labels that Qt would read as HTML, and that no code of ours has said are."""
    labels = [*root.findChildren(QLabel), *([root] if isinstance(root, QLabel) else [])]
    return [
        label.text()
        for label in labels
        if "<" in label.text()
        and (
            label.textFormat() == Qt.TextFormat.AutoText
            or (HOSTILE in label.text() and label.textFormat() != Qt.TextFormat.PlainText)
        )
    ]


@pytest.mark.qt_log_ignore("does not support raise")
def test_a_tooltip_is_plain(qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    QToolTip.showText(QPoint(5, 5), HOSTILE, widget)
    tips = [top for top in QApplication.topLevelWidgets() if isinstance(top, QLabel) and top.text() == HOSTILE]
    assert [tip.textFormat() for tip in tips] == [Qt.TextFormat.PlainText]
    QToolTip.hideText()


def test_a_message_box_is_plain(qtbot: QtBot) -> None:
    box = QMessageBox(QMessageBox.Icon.Warning, HOSTILE, HOSTILE)
    box.setInformativeText(HOSTILE)
    qtbot.addWidget(box)
    box.show()
    assert sum(label.text() == HOSTILE for label in box.findChildren(QLabel)) == 2
    assert not _guessing(box)


def test_the_window_shows_a_hostile_name_as_it_is_written(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "\N{DIVISION SLASH}")
    folder.mkdir()
    choose(window, folder)
    for page in ("setup", "train", "numerics", "chat", "export", "runs"):
        window.go_to(page)
        qtbot.wait(1)
        assert not _guessing(window)
