"""The card on the Export page that measures the speed of a run's result."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from studio.errors import ExportError
from studio.runner import actions
from studio.ui.bridge import AppContext
from studio.ui.pages.export.page import ExportPage
from tests.screenshots.scripted import scripted_latency, scripted_runs
from tests.ui.fakes import answered


@pytest.fixture
def page(context: AppContext, qtbot: QtBot) -> ExportPage:
    scripted_runs(context.runs_root)
    page = ExportPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    return page


def _words(page: ExportPage) -> str:
    return "\n".join(found.text() for found in page.latency.findChildren(QLabel) if found.isVisibleTo(page.latency))


def test_the_forms_are_shown_with_what_they_mean(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(actions, "latency", lambda folder, *, progress: asked.append(folder) or scripted_latency())
    qtbot.mouseClick(page.latency.button, Qt.MouseButton.LeftButton)
    assert not page.latency.button.isEnabled()
    assert "under way" in page.latency.button.toolTip()
    qtbot.waitUntil(lambda: "45.8 ms\n1.44 to 1.48\u00a0×" in _words(page))
    assert asked == [page.form.folder]
    assert "each token 46 % slower" in page.latency.verdict[0]
    assert "Merged, it showed no measurable difference" in page.latency.verdict[0]
    assert "no difference" in _words(page)
    assert page.latency.button.isEnabled()


def test_another_run_clears_the_figures(page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "latency", lambda folder, *, progress: scripted_latency())
    page.latency.measure()
    qtbot.waitUntil(lambda: "45.8 ms\n1.44 to 1.48\u00a0×" in _words(page))
    page.form.run.set_value(page.form.run.itemData(1))
    assert page.latency.verdict[0] == ""
    assert "45.8" not in _words(page)


def test_a_failure_is_one_sentence(page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Any, *, progress: Any) -> Any:
        raise ExportError("The base model has changed.")

    monkeypatch.setattr(actions, "latency", fail)
    page.latency.measure()
    qtbot.waitUntil(lambda: page.latency.verdict == ("The base model has changed.", "bad"))


def test_a_cancelled_measurement_shows_nothing(
    page: ExportPage, context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    def until_cancelled(folder: Any, *, progress: Any) -> Any:
        started.set()
        while True:
            progress("measuring", 1, 10)

    monkeypatch.setattr(actions, "latency", until_cancelled)
    page.latency.measure()
    qtbot.waitUntil(started.is_set)
    qtbot.mouseClick(page.latency.progress.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not context.busy)
    context.tick()
    assert not page.latency.progress.isVisible()
    assert page.latency.button.isEnabled()


def test_without_a_run_the_button_says_why(context: AppContext, qtbot: QtBot) -> None:
    page = ExportPage(context)
    qtbot.addWidget(page)
    assert not page.latency.button.isEnabled()
    assert page.latency.button.toolTip() == "No run has finished yet."
