"""The application: fonts, language, theme, start and end."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

from PySide6.QtCore import (
    QObject,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from studio.i18n import tr
from studio.paths import resource
from studio.runner import actions
from studio.runner.signals import on_signals
from studio.ui import icons, motion, theme
from studio.ui.bridge import AppContext
from studio.ui.desktop import motion as motion_of_the_desktop
from studio.ui.desktop.presence import Presence
from studio.ui.first_paint import FirstPaint
from studio.ui.first_window import FirstWindow
from studio.ui.language import speak
from studio.ui.main_window import MainWindow
from studio.ui.plain_text import PlainText
from studio.ui.settings import Settings
from studio.ui.theme import interface_font

log = logging.getLogger(__name__)
SAMPLE = resource("samples", "fine-tuning-en.jsonl")
_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def main(model: str = "", data: str = "", file: str = "") -> int:
    """Open the window and return the exit status once it is closed.

    Args:
        model: a model folder or hub id to begin with; what was chosen last when empty.
        data: a dataset file to begin with; what was chosen last when empty.
        file: what to open beside that: a run folder, a model folder, a configuration or a dataset file.
    """
    app = make_application()
    first = FirstWindow(app)
    first.listen()
    settings = Settings()
    speak(settings.language)
    use_hubs(settings)
    theme.set_font_size(settings.font_size)
    theme.install(app, settings.theme)
    motion.reduce(bool(settings.reduce_motion))
    app.setWindowIcon(icons.app_icon())
    MainThreadCollector(app)
    context = AppContext(settings, parent=app)
    window = MainWindow(context)
    presence = Presence(context, window)
    with _hooks(context, window):
        painted = FirstPaint(window)
        window.show()
        first.asked.connect(window.show_asked)
        # Until then there are only our own labels and words; every event passes there, and most come as one starts.
        painted.done.connect(lambda: PlainText(window))
        painted.done.connect(lambda: fill(window, model, data, file))
        painted.done.connect(first.serve)
        painted.done.connect(window.help.begin_first_tour)
        if settings.reduce_motion is None:
            painted.done.connect(lambda: motion_of_the_desktop.ask(motion.reduce, app))
        status = app.exec()
        first.close()
        presence.close()
        # A worker that outlives the interpreter aborts the process: this waits, and nothing is terminated.
        context.cancel_all()
        context.join()
    return status


def use_hubs(settings: Settings) -> None:
    """Ask the hubs that the user has chosen, where they are to be asked."""
    for name, hub in actions.HUBS.items():
        if address := settings.hub_address(name):
            hub.use(address)
    if settings.models_from in actions.HUBS:
        actions.choose_hub(settings.models_from)


def make_application() -> QApplication:
    """Return the application with its names and its font."""
    if QApplication.instance() is None:
        QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    app = cast(QApplication, QApplication.instance() or QApplication(["finetune-studio"]))
    app.setApplicationName("finetune-studio")
    app.setApplicationDisplayName("Finetune Studio")
    app.setDesktopFileName("finetune-studio")
    app.setFont(interface_font())
    return app


def first_tables(settings: Settings, model: str = "", data: str = "") -> dict[str, Any]:
    """Return what the Setup page shows first: the last draft, or the starter model and a sample to start with."""
    tables = settings.draft
    chosen: dict[str, Any] = tables.setdefault("model", {})
    rows: dict[str, Any] = tables.setdefault("data", {})
    if not chosen.get("path"):
        starter = actions.starter_folder()
        chosen["path"] = str(starter) if starter else ""
        rows["sources"] = rows.get("sources") or [{"path": str(SAMPLE)}]
    if model:
        tables["model"] = {"path": model}
    if data:
        rows["sources"] = [{"path": data}]
    return tables


def fill(window: MainWindow, model: str = "", data: str = "", file: str = "") -> None:
    """Do what can wait until the window is on the screen: fill the Setup page, make the other pages, look for runs."""
    window.setup.set_tables(first_tables(window.context.settings, model, data))
    window.prepare_pages()
    if file:
        window.open_path(file)
    window.continuing.look()
    window.offer_self_test()


@contextmanager
def _hooks(context: AppContext, window: MainWindow) -> Iterator[None]:
    """While the window lives: Qt's messages and our defects go to the log, and a signal stops and saves."""

    told: set[tuple[str, int]] = set()

    def on_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        place = _place(trace)
        if place in told:  # what Qt asks for again at every paint is said once
            return
        told.add(place)
        log.error("A defect in the window", exc_info=(kind, error, trace))
        context.message.emit(
            tr("Something unexpected happened ({kind}); the log has the details.").format(kind=kind.__name__)
        )

    def stop(_: signal.Signals) -> None:
        QTimer.singleShot(0, window.quit_saving)

    sys.excepthook, excepthook = on_defect, sys.excepthook
    threading.excepthook, thread_hook = _log_thread_defect, threading.excepthook
    qInstallMessageHandler(lambda kind, _, words: logging.getLogger("qt").log(_LEVELS[kind], "%s", words))
    try:
        with on_signals(stop, context.controller.checkpoint_now):
            yield
    finally:
        qInstallMessageHandler(None)
        sys.excepthook, threading.excepthook = excepthook, thread_hook


def _place(trace: TracebackType | None) -> tuple[str, int]:
    """Return file and line where an error was raised."""
    *_, last = traceback.walk_tb(trace)
    frame, line = last
    return frame.f_code.co_filename, line


def _log_thread_defect(args: threading.ExceptHookArgs) -> None:
    trace = (args.exc_type, args.exc_value, args.exc_traceback)
    log.error("A defect in the thread %s", args.thread and args.thread.name, exc_info=trace)  # type: ignore[arg-type]


PERIOD_MILLISECONDS = 1000


class MainThreadCollector(QObject):
    """Collects garbage from a timer of the main thread, each generation when its threshold is reached.

    Automatic collection is off: on the thread of a worker it would free Qt objects under Qt.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        gc.disable()
        timer = QTimer(self, interval=PERIOD_MILLISECONDS)
        timer.timeout.connect(self.collect)
        timer.start()

    def collect(self) -> None:
        """Collect the oldest generation that is due."""
        for generation in (2, 1, 0):
            if gc.get_count()[generation] > gc.get_threshold()[generation]:
                gc.collect(generation)
                return
