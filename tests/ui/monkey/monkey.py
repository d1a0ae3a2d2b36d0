"""Chance acts on the window: opens it, does what a user could do, closes it, and opens it again."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt, QThread, QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QDialog, QWidget
from shiboken6 import isValid

from studio.i18n import LANGUAGES
from studio.ui import app
from studio.ui.actions import PAGES
from studio.ui.job import Job
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.ui.monkey import hands
from tests.ui.monkey.sandbox import Sandbox
from tests.ui.monkey.watch import Watch

LOOKING = 20
"""Milliseconds between two looks at a window that opens or closes."""
NESTED = 200
"""Milliseconds after which is looked whether an action that has not come back has opened a menu or a dialog that waits."""
LONGEST_DIALOG = 60
"""Actions after which a dialog is closed: else the monkey would live in it."""
LONGEST_SESSION = 800
SELDOM = ("quit", "theme", "font", "language")
"""Commands that make the whole window anew: the monkey would do little else."""
SETTLING = 60.0
"""Seconds in which a window that was opened has to be filled, and every dialog to close."""


def act_by_chance(place: Path, actions: int, seed: int, patience: float) -> tuple[Monkey, Watch, Sandbox]:
    """Let a monkey act in an empty folder, whose `environment` is set."""
    draw = random.Random(seed)
    app.make_application()
    watch, sandbox = Watch(seed, patience, place / "actions.txt"), Sandbox(place, draw)
    monkey = Monkey(actions, draw, sandbox, watch)
    watch.begin()
    with sandbox.closed():
        monkey.live()
    watch.end()
    return monkey, watch, sandbox


class Monkey:
    """Acts `left` times, a turn of the event loop each, in as many sessions as that takes.

    Attributes:
        sessions: how often the window was opened.
        reopened: how often a window was opened whose Setup page had been seen before.
        kept: how often it was found as it was left.
    """

    def __init__(self, actions: int, draw: random.Random, sandbox: Sandbox, watch: Watch) -> None:
        self.left = self._actions = actions
        self.sessions = self.reopened = self.kept = 0
        self._draw, self._sandbox, self._watch = draw, sandbox, watch
        self._timer = QTimer(singleShot=True)
        self._timer.timeout.connect(self._go_on)
        self._acting_in = 0
        self._window: MainWindow | None = None
        self._page: dict[str, Any] | None = None
        self._settled = False
        self._opened = 0.0
        self._session_ends = 0
        self._dialog: QWidget | None = None
        self._dialog_since = 0
        self._closing_since = self._gone_since = 0.0
        self._kinds, self._weights = zip(*self._repertoire(), strict=True)

    def live(self) -> None:
        """Open the window until all actions are done."""
        application = app.make_application()
        before = application.children()
        application.aboutToQuit.connect(self._remember_page)
        while self.left > 0 and self.sessions < 10_000:
            self.sessions += 1
            self._settled, self._opened = False, time.monotonic()
            self._closing_since = self._gone_since = 0.0
            length = min(self._draw.randint(1, LONGEST_SESSION), -(-self._actions // 2))
            self._session_ends = max(0, self.left - length)
            Settings().language = list(LANGUAGES)[self.sessions % len(LANGUAGES)]
            self._timer.start(0)
            app.main()
            self._timer.stop()
            self._window = self._dialog = None
            _forget_the_session(before)
        application.aboutToQuit.disconnect(self._remember_page)

    def _go_on(self) -> None:
        # The action may open an event loop of its own, in which the next one has to be done. One that is only slow must
        # not be interrupted: QTest handles events between a press and a release, and so would begin another in between.
        self._timer.start(NESTED)
        level, around = QThread.currentThread().loopLevel(), self._acting_in
        if level <= around:
            return
        self._acting_in = level
        try:
            self._do_next()
        finally:
            self._acting_in = around

    def _do_next(self) -> None:
        if self._window is None or not isValid(self._window):
            self._window = _main_window()
        window, pause = self._window, LOOKING
        if window is None or not (window.isVisible() or window.isMinimized()):
            self._wait_for_end()
            return
        self._gone_since = 0.0
        if not self._settled:
            self._settle(window)
        elif self.left <= self._session_ends:
            self._close(window)
        else:
            self._act(window)
            pause = 0
        self._timer.start(pause)

    def _wait_for_end(self) -> None:
        """Wait until the program ends, as it does when no window of it is left."""
        self._timer.start(LOOKING)
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since > SETTLING:
            others = [hands.named(one) for one in QApplication.topLevelWidgets() if one.isVisible()]
            self._watch.find("the program goes on without its window", f"other windows: {others}")
            self._gone_since = 0.0
            QCoreApplication.quit()

    def _settle(self, window: MainWindow) -> None:
        """Wait until the window has read everything, and see that its Setup page is as it was left."""
        filled = set(window.pages) == set(PAGES) and not window.setup.pending
        if filled and not any(job.running for job in window.setup.findChildren(Job)):
            self._settled = True
            if self._page is not None:
                self._compare_page(window.setup.tables(), self._page)
        elif time.monotonic() - self._opened > SETTLING:
            self._watch.find("the window is never filled", f"pages: {list(window.pages)}")
            self._settled = True

    def _compare_page(self, found: dict[str, Any], left: dict[str, Any]) -> None:
        self.reopened += 1
        self.kept += found == left
        if found != left:
            self._watch.find("the page is not as it was left", f"left:  {left}\nfound: {found}")

    def _remember_page(self) -> None:
        """Keep the Setup page as the user saw it last; one that was never filled is kept as it was."""
        if self._settled and self._window is not None:
            self._page = self._window.setup.tables()

    def _close(self, window: MainWindow) -> None:
        """Close whatever lies over the window, as a user would, and then the window."""
        now = time.monotonic()
        self._closing_since = self._closing_since or now
        front = hands.front_window()
        if now - self._closing_since > SETTLING:
            self._watch.find(f"{type(front).__name__} does not close", _state(front or window))
            QCoreApplication.quit()
        elif front is None or front is window:
            window.close()
        else:
            self._leave(front)

    def _leave(self, front: QWidget) -> str:
        """Close a menu or a dialog, in one of the ways there are."""
        words = f"leave {hands.named(front)}"
        way = 0 if isinstance(front, MainWindow) else self._draw.randrange(3)
        if way == 0:
            hands.press(hands.handle_of(front), Qt.Key.Key_Escape)
        elif way == 1:
            front.close()
        else:
            hands.click(front, self._draw)
        return words

    def _act(self, window: MainWindow) -> None:
        front = hands.front_window() or window
        self.left -= 1
        if isinstance(front, QDialog) and front is not self._dialog:
            self._dialog, self._dialog_since = front, self.left
        stays = front is self._dialog and self._dialog_since - self.left > LONGEST_DIALOG
        act = self._leave if stays else self._draw.choices(self._kinds, self._weights)[0]
        self._watch.note_action(f"begins {act.__name__} in {type(front).__name__}")
        self._watch.note_words(act(front))

    def _repertoire(self) -> list[tuple[Callable[[QWidget], str], int]]:
        """What the monkey can do, and how often it does that."""
        return [
            (self._with_draw(hands.click), 34),
            (self._with_draw(hands.hover), 3),
            (self._with_draw(hands.drag), 4),
            (self._with_draw(hands.turn_wheel), 4),
            (self._with_draw(hands.press_key), 14),
            (self._with_draw(hands.press_mnemonic), 2),
            (self._with_draw(hands.choose), 4),
            (self._paste, 9),
            (self._command, 16),
            (self._drop, 4),
            (self._resize, 2),
            (self._leave, 3),
        ]

    def _with_draw(self, act: Callable[[QWidget, random.Random], str]) -> Callable[[QWidget], str]:
        def with_draw(front: QWidget) -> str:
            return act(front, self._draw)

        with_draw.__name__ = act.__name__
        return with_draw

    def _paste(self, front: QWidget) -> str:
        return hands.paste(front, self._draw, [self._sandbox.to_open()])

    def _drop(self, front: QWidget) -> str:
        if not isinstance(front, MainWindow):
            return self._leave(front)
        files = [self._sandbox.to_open() for _ in range(self._draw.choice((1, 1, 1, 2)))]
        return hands.drop(front, self._draw, files)

    def _resize(self, front: QWidget) -> str:
        return hands.resize(front, self._draw) if isinstance(front, MainWindow | QDialog) else self._leave(front)

    def _command(self, front: QWidget) -> str:
        """Choose a command of the menus, with the mouse or by its keys."""
        if not isinstance(front, MainWindow):
            return self._leave(front)
        actions: list[QAction] = [action for action in front.actions_by_name.values() if action.isEnabled()]
        action = self._draw.choice(actions)
        if action.objectName().startswith(SELDOM) and self._draw.random() < 0.8:
            return f"not {action.objectName()}"
        keys = action.shortcut()
        words = f"command {action.objectName()} {keys.toString()}"
        if not keys.isEmpty() and self._draw.random() < 0.5:
            combination = keys[0]
            hands.press(hands.handle_of(front), combination.key(), combination.keyboardModifiers())
        else:
            action.trigger()
        return words


def _state(widget: QWidget) -> str:
    """Return what is known of a window that does not close."""
    around, names = widget.parentWidget(), []
    while around is not None:
        names.append(f"{hands.named(around)}{'' if around.isVisible() else ', hidden'}")
        around = around.parentWidget()
    handle = widget.windowHandle()
    shown = f"visible {widget.isVisible()}, its window {handle is not None and handle.isVisible()}"
    return f"{hands.named(widget)}: {shown}, in {' in '.join(names)}"


def _main_window() -> MainWindow | None:
    windows = (one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow))
    return next((one for one in windows if one.isVisible()), None)


def _forget_the_session(before: list[QObject]) -> None:
    """Delete what the window has left with the application, as the end of the process does."""
    application = app.make_application()
    left: list[QObject] = [one for one in application.topLevelWidgets() if isinstance(one, MainWindow)]
    left += [one for one in application.children() if one not in before and type(one).__module__.startswith("studio.")]
    for one in left:
        one.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    gc.collect()
