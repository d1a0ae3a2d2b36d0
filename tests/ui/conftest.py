"""The window with fakes where the engine would be: no torch, no model, no training."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.config import MethodConfig, method, option
from studio.engine.methods import METHODS, Method
from studio.engine.methods.lora import Lora
from studio.runner import actions
from studio.ui import bridge, job, theme
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from studio.ui.theme import interface_font
from tests.ui.fakes import FakeController, FakeEngine, FakeQueue, choose


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Answers in the engine's place."""
    fake = FakeEngine()
    for name in (
        "open_model",
        "open_data",
        "peek_columns",
        "try_model",
        "check_method",
        "suggestions",
        "estimate",
        "compare_methods",
        "explain_precision",
        "measured_speed",
    ):
        monkeypatch.setattr(actions, name, getattr(fake, name))
    return fake


@pytest.fixture
def unmergeable(monkeypatch: pytest.MonkeyPatch) -> Method:
    """A method that cannot be merged and leaves an adapter; it must be asked for before the window is."""

    class SideConfig(MethodConfig):
        name: Literal["side"] = "side"
        width: int = option(8, title="Width", help="How wide it is.", ge=1, le=64)

    class Side(Lora):
        name = "side"
        title = "Side network"
        explanation = "y = x + f(x)"
        config = SideConfig  # type: ignore[assignment]
        mergeable = False
        cost_in_use = "A little of every token."
        suggested_learning_rate = 1e-3

    side = Side()
    for registry in (METHODS, method.METHODS):
        monkeypatch.setitem(registry._entries, "side", side)  # type: ignore[arg-type]
    return side


@pytest.fixture(scope="module", autouse=True)
def _leave_out_what_stays() -> None:
    """Modules and fixtures that outlive a file are no garbage: to look at them again for each test takes minutes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _collect_on_the_main_thread() -> Iterator[None]:
    """As in the app: cyclic garbage that a worker collects takes Qt objects away under Qt.

    The window of the test before is taken away first: a style sheet that is set styles every widget that there is.
    """
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _every_card_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cards of the computer that runs the tests are none of their business."""
    monkeypatch.setattr(actions, "look_for_cards", actions.GraphicsCards)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a person to finish typing need not wait for a test."""
    monkeypatch.setattr(job, "PAUSE_MILLISECONDS", 0)
    monkeypatch.setattr(bridge, "POLL_MILLISECONDS", 2)


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of this test alone."""
    result = Settings(tmp_path / "settings.ini")
    result.language = "en"
    result.runs_root = tmp_path / "runs"
    return result


@pytest.fixture(scope="session")
def dressed(qapp: QApplication) -> QApplication:
    """The application in the light theme; a test that changes the theme changes it back."""
    qapp.setFont(interface_font())
    theme.install(qapp, "light")
    return qapp


@pytest.fixture
def context(
    dressed: QApplication, settings: Settings, controller: FakeController, engine: FakeEngine
) -> Iterator[AppContext]:
    """What pages get, with the fakes in it."""
    result = AppContext(settings, controller, FakeQueue())  # type: ignore[arg-type]
    yield result
    controller.running = False
    result.cancel_all()
    assert result.join(5)
    result.deleteLater()


@pytest.fixture
def window(qtbot: QtBot, context: AppContext) -> Iterator[MainWindow]:
    """The whole window, shown."""
    result = MainWindow(context)
    qtbot.addWidget(result)
    with qtbot.waitExposed(result):
        result.showNormal()
    result.resize(1280, 800)
    yield result
    context.controller.running = False  # type: ignore[misc]


@pytest.fixture
def ready(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> MainWindow:
    """The window with a model and a dataset chosen and judged."""
    choose(window, tmp_path)
    setup = window.setup
    qtbot.waitUntil(lambda: all(card.verdict[1] == "good" for card in setup.cards) and not setup._soon.isActive())
    return window
