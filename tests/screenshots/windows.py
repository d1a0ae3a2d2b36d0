"""Windows to be drawn, with scripted runs or nothing in them, and how they are saved. `render.py` draws the pages."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtGui import QImage
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
from tests.screenshots.scripted import scripted_runs

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
    """Return the window at a page, its background reading done. It fills its screen, which `render.py` chooses."""
    window = MainWindow(context)
    context.setParent(window)
    window.showNormal()
    window.resize(window.screen().size())
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


COLOURS = 256


def save(widget: QWidget, path: Path) -> None:
    """Let the layout settle, draw, and write one picture."""
    app = theme.application()
    for _ in range(6):
        app.processEvents()
    with_palette(widget.grab().toImage()).save(str(path), quality=0)  # the smallest file
    print(path)


def with_palette(image: QImage) -> QImage:
    """Return a picture in 256 colours, which takes a third of the space.

    Half of them are the most frequent ones. Each other one is the furthest from all before it, so that a colour stays
    that stands in one word alone (farthest-first traversal, Gonzalez 1985).
    """
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    colours, counts = np.unique(np.frombuffer(image.constBits(), np.uint32), return_counts=True)
    places = list(np.argsort(-counts)[: COLOURS // 2])
    primaries = np.stack([colours >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.float64)
    distances = np.full(len(colours), np.inf)
    for place in places:
        distances = np.minimum(distances, ((primaries - primaries[place]) ** 2).sum(axis=1))
    while len(places) < COLOURS and distances.max() > 0:
        places.append(distances.argmax())
        distances = np.minimum(distances, ((primaries - primaries[places[-1]]) ** 2).sum(axis=1))
    return image.convertToFormat(QImage.Format.Format_Indexed8, colours[places].tolist())
