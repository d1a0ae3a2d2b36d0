"""A drive that no longer answers does not hold the window: the pages read no file on the window's thread."""

from __future__ import annotations

import builtins
import os
import shutil
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.runs import RunFolder
from studio.ui.main_window import PAGES, MainWindow
from studio.ui.pages.runs.page import RunsPage

EARLIER = Path(__file__).parents[1] / "earlier"


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A folder, and what was asked of it on the window's thread."""
    folder, asked = tmp_path / "far", []
    shutil.copytree(EARLIER / "run", folder / "runs" / "one")
    shutil.copytree(EARLIER / "model", folder / "model")
    shutil.copyfile(EARLIER / "rows.jsonl", folder / "rows.jsonl")

    def watch(module: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def watched(path: Any = ".", *args: Any, **named: Any) -> Any:
            here = threading.current_thread() is threading.main_thread()
            if here and isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(folder)):
                own = [frame for frame in traceback.extract_stack() if "/studio/" in frame.filename]
                asked.append(f"{name} {path} in {' '.join(f'{Path(one.filename).name}:{one.lineno}' for one in own)}")
            return real(path, *args, **named)

        monkeypatch.setattr(module, name, watched)

    for name in ("stat", "lstat", "open", "scandir", "listdir"):
        watch(os, name)
    watch(builtins, "open")
    monkeypatch.setattr("io.open", builtins.open)
    return folder, asked


def test_the_pages_read_nothing_on_the_windows_thread(
    window: MainWindow, far: tuple[Path, list[str]], qtbot: QtBot
) -> None:
    folder, asked = far
    assert (folder / "model").exists()
    assert asked  # it is seen
    asked.clear()
    card = window.setup.model
    card.path.setText(str(folder / "model"))
    card.path.textEdited.emit(card.path.text())
    qtbot.waitUntil(lambda: card.info is not None)
    card.accept()
    qtbot.waitUntil(lambda: card.info is not None)
    window.setup.set_tables(
        {"model": {"path": str(folder / "model")}, "data": {"sources": [{"path": str(folder / "rows.jsonl")}]}}
    )
    qtbot.waitUntil(lambda: bool(window.setup.data.sources) and not window.setup.data.sources[0].pending)
    window.context.choose_runs_root(folder / "runs")
    for name in PAGES:
        window.context.go_to(name)
        qtbot.wait(20)
    runs = window.findChild(RunsPage)
    window.context.go_to("runs")
    qtbot.waitUntil(lambda: runs.model.rowCount() == 1)
    runs.show_run(RunFolder(folder / "runs" / "one"))
    qtbot.waitUntil(lambda: window.context.record is not None)
    for name in PAGES:
        window.context.go_to(name)
        qtbot.wait(20)
    assert not asked, "\n".join(asked)
