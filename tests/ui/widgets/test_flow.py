"""A row goes on in a further line where it has no room; nothing in it is cut."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QRect
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.ui.widgets.flow import Flow, flow
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import ElidedLabel, label

NAMES = ("Compare…", "Open folder", "Delete…", "Continue", "Open")


class Row(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.title = label("Runs", "title")
        self.buttons = [QPushButton(name) for name in NAMES]
        self.below = QWidget()
        vbox(flow((self.title, 1), flow(*self.buttons, spacing=1), spacing=1), (self.below, 1), parent=self)


@pytest.fixture
def row(dressed: QApplication, qtbot: QtBot) -> Row:
    row = Row()
    qtbot.addWidget(row)
    return row


def _needed(row: Row) -> int:
    return sum(button.sizeHint().width() for button in row.buttons)


def test_there_is_one_line_where_there_is_room_and_the_buttons_stand_at_the_right(row: Row, qtbot: QtBot) -> None:
    row.resize(3 * _needed(row), 400)
    with qtbot.waitExposed(row):
        row.show()
    assert row.title.x() == 0
    assert len({button.y() for button in row.buttons}) == 1
    assert row.title.geometry().right() < row.buttons[0].x()
    assert row.buttons[-1].geometry().right() == row.width() - 1


@pytest.mark.parametrize("share", [0.9, 0.55, 0.3])
def test_no_button_is_cut_however_narrow_it_is(row: Row, qtbot: QtBot, share: float) -> None:
    row.resize(int(share * _needed(row)), 600)
    with qtbot.waitExposed(row):
        row.show()
    lines = {button.y() for button in row.buttons}
    assert len(lines) > 1
    for button in row.buttons:
        assert button.width() >= button.sizeHint().width()
        assert button.geometry().right() < row.width()
        assert button.geometry().bottom() < row.below.y()
    boxes = [button.geometry() for button in row.buttons]
    assert not any(one.intersects(other) for one in boxes for other in boxes if one is not other)


def test_what_is_hidden_takes_no_room(row: Row, qtbot: QtBot) -> None:
    row.resize(3 * _needed(row), 400)
    with qtbot.waitExposed(row):
        row.show()
    row.buttons[-1].hide()
    qtbot.waitUntil(lambda: row.buttons[-2].geometry().right() == row.width() - 1)


def test_even_lines_have_columns(dressed: QApplication, qtbot: QtBot) -> None:
    row, figures = QWidget(), [ElidedLabel("x" * 20) for _ in range(5)]
    flow(*((figure, 1, 100) for figure in figures), spacing=1, even=True, parent=row)
    qtbot.addWidget(row)
    row.resize(400, 300)
    with qtbot.waitExposed(row):
        row.show()
    assert [figure.x() for figure in figures[:2]] == [figure.x() for figure in figures[3:]]
    assert len({figure.width() for figure in figures}) == 1


def test_a_height_is_computed_once_until_something_changes(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[QRect] = []
    arrange = Flow._arrange

    def counted(self: Flow, area: QRect, *, move: bool) -> int:
        computed.append(area)
        return arrange(self, area, move=move)

    monkeypatch.setattr(Flow, "_arrange", counted)
    layout = row.layout()
    width = int(0.9 * _needed(row))
    for _ in range(50):
        layout.heightForWidth(width)
    assert len(computed) < 5
    before = layout.heightForWidth(width)
    for button in row.buttons:
        button.setText(3 * button.text())
    layout.invalidate()
    layout.activate()
    assert layout.heightForWidth(width) > before
