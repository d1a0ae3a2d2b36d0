"""Windows to be drawn, with scripted runs or nothing in them, and how they are saved. `render.py` draws the pages."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QDialog, QWidget

from studio.events import RunFinished
from studio.i18n import language
from studio.runner.controller import Controller
from studio.runner.queue import RunQueue
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.screenshots.scripted import (
    scripted_runs,
)

FINISHED = RunFinished(
    status="finished",
    step=212,
    update=204,
    trainable_parameters=4_884_480,
    total_parameters=139_399_488,
    adapter_bytes=19_000_000,
    peak_memory=2 * 2**30,
    seconds=231.0,
)
SIZE, SMALL = (1280, 800), (1024, 640)


class Training(Controller):
    """A controller that says a run is under way."""

    running = True
    paused = False


def offscreen_context(controller: Controller | None = None) -> AppContext:
    """Return a context whose settings and runs lie in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="studio-render-"))
    settings = Settings(folder / "settings.ini")
    settings.runs_root = folder / "runs"
    settings.language = language()
    return AppContext(settings, controller, RunQueue(folder / "queue.json"))


def window_at(page: str, context: AppContext) -> MainWindow:
    """Return the window at a page, its background reading done."""
    window = MainWindow(context)
    context.setParent(window)
    window.showNormal()
    window.resize(*(SMALL if "--small" in sys.argv else SIZE))
    window.go_to(page)
    settle(context)
    return window


def settle(context: AppContext, turns: int = 3) -> None:
    """Let what was asked in the background be answered, and what follows from the answers be asked."""
    for _ in range(turns):
        theme.application().processEvents()
        context.join(60)
        context.tick()


def train_window(record: RunRecord, *, live: bool = False) -> MainWindow:
    """Return the window at the Train page with a record."""
    return record_window("train", record, live=live)


def record_window(page: str, record: RunRecord, *, live: bool = False) -> MainWindow:
    """Return the window at a page that shows a record."""
    context = offscreen_context(Training() if live else None)
    record.folder = scripted_runs(context.runs_root)[0]
    context.record = record
    context.live = record if live else None
    return window_at(page, context)


def opened(window: MainWindow, dialog: QDialog) -> QDialog:
    """Return a dialog that a window has opened, to be drawn without the window."""
    settle(window.context, 6)
    window.hide()
    dialog.setParent(None)
    window.setParent(dialog)
    dialog.show()
    return dialog


def save(widget: QWidget, path: Path) -> None:
    """Let the layout settle, draw, and write one picture."""
    app = theme.application()
    for _ in range(6):
        app.processEvents()
    widget.grab().save(str(path))
    print(path)
