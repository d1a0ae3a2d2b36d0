"""A damaged settings file never keeps the window from opening."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from studio.ui.app import first_tables
from studio.ui.settings import Settings
from tests.limits import ends

DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    "text",
    [
        "[geometry]\nhere=hello",
        "[geometry]\nhere=1, 2",
        "[geometry]\nhere=@ByteArray(\\x1\\xd9\\xd0)",
        "[geometry]\nhere=@Rect(1 2 3 4)",
        "[geometry]\nhere=@Invalid()",
        "theme=a, b",
        "theme=@ByteArray(\\xff\\xfe)",
        "language=@Size(3 4)",
        "runs_root=@Point(1 2)",
        "runs_root=a\\x0" + "b",
        "recent_models={",
        "recent_models=[1, null]",
        f"recent_models={DEEP}",
        'draft="[]"',
        'draft="{\\"model\\": 5, \\"data\\": [], \\"method\\": null}"',
        f"draft={DEEP}",
        "\xff\xfe[General\n==\n%zz=@",
    ],
)
def test_the_window_gets_what_it_needs_from_a_damaged_file(tmp_path: Path, qtbot: QtBot, text: str) -> None:
    path = tmp_path / "settings.ini"
    path.write_text(f"[General]\n{text}\n", encoding="latin-1")
    settings = Settings(path)
    assert settings.language in ("en", "zh_CN")
    assert settings.theme == "system"
    assert settings.runs_root.is_absolute()
    assert settings.recent_models == ()
    widget = QWidget()
    qtbot.addWidget(widget)
    assert not widget.restoreGeometry(settings.geometry("here"))
    assert set(first_tables(settings)) <= {"model", "data"}


@pytest.mark.parametrize("length", range(0, 70, 3))
def test_cut_geometry_is_no_geometry(tmp_path: Path, qtbot: QtBot, length: int) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    settings = Settings(tmp_path / "settings.ini")
    settings.remember_geometry("here", QByteArray(widget.saveGeometry().data()[:length]))
    settings.save()
    if length < len(widget.saveGeometry()):
        assert not widget.restoreGeometry(Settings(tmp_path / "settings.ini").geometry("here"))


def test_a_draft_comes_back(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "settings.ini")
    tables = {"model": {"path": "a, b; c=%zz"}, "data": {"sources": [{"path": "ü"}]}}
    settings.draft = tables
    settings.save()
    again = Settings(tmp_path / "settings.ini")
    assert again.draft == tables
    assert json.dumps(again.draft)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_settings_that_are_no_file_do_not_keep_the_window_from_opening(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "settings.ini"
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()

    def use() -> None:
        settings = Settings(file)
        settings.theme = "dark"
        settings.save()
        assert Settings(file).theme == "dark"

    ends(use)
