"""The real window and a run in its own process: closed, found again, killed, continued. Its plots are one line."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.runs import read_lock
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.e2e.hands import choose, click, picture
from tests.e2e.seen import drawn_to
from tests.tiny import save_model, save_rows

MINUTE = 60_000
UPDATES = 1500  # so many that the run is under way when a window that starves on a busy machine first hears of it


def _window(qtbot: QtBot, folder: Path) -> MainWindow:
    settings = Settings(folder / "settings.ini")
    settings.language = "en"
    settings.runs_root = folder / "runs"
    made = MainWindow(AppContext(settings))
    with qtbot.waitExposed(made):
        made.showNormal()
    made.resize(1280, 800)
    return made


def _close(window: MainWindow, qtbot: QtBot) -> None:
    window.close()
    assert window.closing.question is None  # nobody is asked to stop anything
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=MINUTE)
    window.context.cancel_all()  # as the program does at its end: the run goes on
    assert window.context.join(60)


@pytest.mark.qt_log_ignore("This plugin does not support")
def test_a_run_outlives_its_window_and_its_own_death(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> None:
    theme.install(qapp, "light")
    gc.disable()
    first = _window(qtbot, tmp_path)
    model, rows = save_model(tmp_path / "model"), save_rows(tmp_path / "rows.jsonl")
    first.setup.set_tables(
        {
            "model": {"path": str(model)},
            "data": {"sources": [{"path": str(rows)}]},
            "precision": {"name": "fp32"},
            "training": {"max_steps": UPDATES, "evaluate_every": 100, "device": "cpu"},
            "retention": {"measure": False},
        }
    )
    choose(first.setup.training.place.rows["where"].editor.main, "process")  # type: ignore[arg-type]
    qtbot.waitUntil(first.run_bar.start.isEnabled, timeout=2 * MINUTE)
    click(first.run_bar.start)
    record = first.context.live
    assert record is not None
    qtbot.waitUntil(lambda: record.state.step >= 3, timeout=3 * MINUTE)
    click(first.run_bar.pause)
    qtbot.waitUntil(lambda: first.run_bar.status.text() == "Paused", timeout=MINUTE)
    click(first.pages["train"].checkpoint.save)
    click(first.run_bar.pause)
    qtbot.waitUntil(lambda: record.state.checkpoint is not None, timeout=MINUTE)
    _close(first, qtbot)

    second = _window(qtbot, tmp_path)
    second.continuing.look()
    qtbot.waitUntil(lambda: second.context.live is not None and second.context.live.state.step > 5, timeout=MINUTE)
    folder = second.context.live.folder
    assert folder is not None
    holder = read_lock(folder.path)
    assert holder is not None
    os.kill(holder.process, signal.SIGKILL)
    qtbot.waitUntil(lambda: second.run_bar.status.text() == "Interrupted", timeout=MINUTE)
    interrupted = second.context.live
    qtbot.waitUntil(lambda: drawn_to(second.pages["train"].plots.loss, interrupted.state.step), timeout=MINUTE)
    picture(second, "real-interrupted")

    click(second.pages["train"].banner.go_on)
    context = second.context
    qtbot.waitUntil(lambda: bool(context.live.seams) and context.live.state.ended, timeout=5 * MINUTE)
    qtbot.waitUntil(second.run_bar.start.isVisible, timeout=MINUTE)
    joined = context.live
    assert (joined.state.status, joined.state.update) == ("finished", UPDATES), joined.state.sentence
    assert joined.series["loss"].x.tolist() == list(range(1, UPDATES + 1))
    assert len(joined.seams) == 1
    picture(second, "real-continued")
    _close(second, qtbot)
    gc.enable()
