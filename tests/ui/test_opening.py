"""Files dropped on the window, and files that it is started with."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from pytestqt.qtbot import QtBot

from studio.config import parse_config, write_config
from studio.runs import create_run
from studio.ui.app import fill
from studio.ui.main_window import MainWindow

CONFIG = write_config(parse_config({"model": {"path": "other"}, "data": {"sources": [{"path": "rows.jsonl"}]}}))


def _model(root: Path) -> Path:
    folder = root / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def _drag(window: MainWindow, *paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dragEnterEvent(QDragEnterEvent(QPoint(9, 9), Qt.DropAction.CopyAction, data, *buttons))
    return data


def _drop(window: MainWindow, *paths: Path) -> None:
    data = _drag(window, *paths)
    buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.overlay.dropEvent(QDropEvent(QPoint(9, 9), Qt.DropAction.CopyAction, data, *buttons))


def test_the_window_says_what_a_drop_will_do_and_does_it(window: MainWindow, tmp_path: Path) -> None:
    model, rows = _model(tmp_path), tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n")
    window.go_to("train")
    _drag(window, model, rows)
    assert window.overlay.isVisible()
    assert window.overlay.accessibleName() == "Take model as the model\nAdd rows.csv to the data"
    assert window.overlay.size() == window.centralWidget().size()
    _drop(window, model, rows)
    assert not window.overlay.isVisible()
    assert window.page == "setup"
    assert window.setup.model.values()["path"] == str(model)
    assert str(rows) in [source.path for source in window.setup.data.sources]


def test_a_drop_that_can_do_nothing_says_so_and_does_nothing(window: MainWindow, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = window.setup.tables()
    _drop(window, tmp_path / "empty")
    assert "is neither a run nor a model" in window.overlay.accessibleName()
    assert window.setup.tables() == before


def test_what_is_dragged_away_leaves_the_window_as_it_was(window: MainWindow, tmp_path: Path) -> None:
    _drag(window, _model(tmp_path))
    window.overlay.dragLeaveEvent(QDragLeaveEvent())
    assert not window.overlay.isVisible()


def test_words_that_are_dragged_are_no_files(window: MainWindow) -> None:
    _drag(window)
    assert not window.overlay.isVisible()


def test_the_window_opens_with_a_configuration(window: MainWindow, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(CONFIG)
    fill(window, file=str(tmp_path / "own.toml"))
    assert window.setup.model.values()["path"] == "other"


def test_the_window_opens_with_a_run(window: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    run = create_run(tmp_path, "x", CONFIG)
    run.write_state("finished")
    window.open_path(str(run.path))
    qtbot.waitUntil(lambda: window.context.record is not None and window.page == "train")
    assert window.context.record is not None
    assert window.context.record.folder == run


@pytest.mark.parametrize("name", ["missing.toml", "gone"])
def test_a_file_that_is_not_there_is_named_in_the_window(window: MainWindow, tmp_path: Path, name: str) -> None:
    window.open_path(str(tmp_path / name))
    assert window.banner.isVisible()
