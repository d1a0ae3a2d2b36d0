"""The overflow laboratory in the window: what a click starts, and how runs are laid over one another."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.config import read_config
from studio.errors import ModelError
from studio.events import RunFinished, StepCompleted
from studio.runner import laboratory
from studio.ui.dialogs.laboratory import Laboratory
from studio.ui.main_window import MainWindow
from studio.ui.plots.overlaid import OverlaidChart
from tests.ui.fakes import FakeController


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model is made by torch, which no test of the window needs."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.setattr(laboratory, "make_model", lambda stream: folder)


@pytest.fixture
def opened(window: MainWindow, qtbot: QtBot) -> Laboratory:
    """The dialog, as its menu entry opens it."""
    window.actions_by_name["laboratory"].trigger()
    (dialog,) = window.findChildren(Laboratory)
    qtbot.waitUntil(dialog.isVisible)
    return dialog


def _click(dialog: Laboratory, name: str, qtbot: QtBot) -> None:
    button = dialog.cards[name].start
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def _train(controller: FakeController, losses: list[float], status: str = "finished") -> None:
    """Let the fake training take a step for each loss, and end."""
    common = {"epoch": 0.0, "learning_rate": 1.0, "grad_norm": 1.0, "grad_scale": None, "skipped": False}
    counts = {"tokens": 1, "supervised_tokens": 1, "micro_batches": 1, "seconds": 0.1}
    for step, loss in enumerate(losses, 1):
        event = StepCompleted(step=step, update=step, loss=loss, **common, **counts)  # type: ignore[arg-type]
        controller.updates.append(event)
    done = {"trainable_parameters": 1, "total_parameters": 1, "adapter_bytes": 0, "peak_memory": 0, "seconds": 1.0}
    controller.updates.append(RunFinished(status=status, step=len(losses), update=len(losses), **done))  # type: ignore[arg-type]
    controller.running = False


def test_every_experiment_has_a_card_with_words_and_a_button(opened: Laboratory) -> None:
    assert list(opened.cards) == [one.name for one in laboratory.experiments()]
    names = {card.start.accessibleName() for card in opened.cards.values()}
    assert len(names) == len(opened.cards)


def test_a_click_fills_setup_starts_the_run_and_goes_to_numerics(
    opened: Laboratory, window: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    _click(opened, "underflow", qtbot)
    qtbot.waitUntil(lambda: bool(controller.started))
    config = read_config(laboratory.laboratory_folder() / "underflow-1.toml")
    assert controller.started == [config]
    assert (config.precision.name, config.precision.loss_scaling) == ("fp16-mixed", "off")
    assert window.setup.tables()["precision"]["loss_scaling"] == "off"
    assert window.page == "numerics"
    qtbot.waitUntil(lambda: not window.findChildren(Laboratory))


def test_a_comparison_trains_each_in_turn_and_lays_the_losses_over_one_another(
    opened: Laboratory, window: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    _click(opened, "precisions", qtbot)
    for number, losses in enumerate(([6.0, 5.0], [6.0, 5.1], [6.0, 5.2]), 1):
        qtbot.waitUntil(lambda number=number: len(controller.started) == number)  # type: ignore[misc]
        assert not any(card.start.isEnabled() for card in opened.cards.values())
        _train(controller, losses)
    qtbot.waitUntil(lambda: not opened.comparison.running)
    assert [config.precision.name for config in controller.started] == ["fp32", "fp16-mixed", "bf16-mixed"]
    assert opened.isVisible()
    assert opened.comparison.panel is not None
    chart = opened.comparison.panel.chart
    assert isinstance(chart, OverlaidChart)
    assert [list(curve.series.y) for curve in chart.curves] == [[6.0, 5.0], [6.0, 5.1], [6.0, 5.2]]
    assert chart.reading(2) == "fp32 5.000   fp16 mixed 5.100   bf16 mixed 5.200"
    assert all(card.start.isEnabled() for card in opened.cards.values())


def test_closing_gives_a_comparison_up(
    opened: Laboratory, window: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    _click(opened, "pure", qtbot)
    qtbot.waitUntil(lambda: len(controller.started) == 1)
    opened.reject()
    assert controller.stops == [True]
    _train(controller, [6.0], "stopped")
    live = window.context.live
    assert live is not None
    qtbot.waitUntil(lambda: live.state.ended)
    qtbot.waitUntil(lambda: not window.findChildren(Laboratory))
    assert len(controller.started) == 1


def test_while_a_run_trains_nothing_can_be_started_and_the_reason_is_told(
    window: MainWindow, controller: FakeController
) -> None:
    controller.running = True
    dialog = Laboratory(window.context, window)
    card = dialog.cards["overflow"]
    assert not card.start.isEnabled()
    assert "running" in card.start.toolTip()
    controller.running = False


def test_a_laboratory_that_cannot_be_set_up_says_so(
    opened: Laboratory, controller: FakeController, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: float) -> Path:
        raise ModelError("The disk is full.")

    monkeypatch.setattr(laboratory, "make_model", full)
    _click(opened, "overflow", qtbot)
    qtbot.waitUntil(lambda: opened.verdict.level == "bad")
    assert opened.verdict.text == "The disk is full."
    assert not controller.started
    assert all(card.start.isEnabled() for card in opened.cards.values())
