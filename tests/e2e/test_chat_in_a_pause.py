"""The real window, a real run of a tiny model that waits, and the Chat page that asks it meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.config import parse_config
from studio.ui.main_window import MainWindow
from tests.e2e.hands import click
from tests.tiny import save_model, save_rows
from tests.ui.fakes import answered

MINUTE = 60_000


@pytest.mark.qt_log_ignore("This plugin does not support")
def test_a_run_that_waits_is_asked_as_it_is_now_and_goes_on(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    config = parse_config(
        {
            "model": {"path": str(save_model(tmp_path / "model"))},
            "data": {"sources": [{"path": str(save_rows(tmp_path / "rows.jsonl"))}], "validation_fraction": 0.0},
            "method": {"name": "lora", "rank": 4},
            "precision": {"name": "fp32"},
            "training": {"max_steps": 100_000, "learning_rate": 1e-2, "device": "cpu"},
            "retention": {"measure": False},
        }
    )
    context = window.context
    click(window.rail["chat"])
    page = window.pages["chat"]
    page.options.editors["limit"].set_value(4)
    context.start_run(config)
    record = context.live
    assert record is not None
    probabilities = []
    for update in (3, 30):
        qtbot.waitUntil(lambda least=update: record.state.update >= least, timeout=MINUTE)
        page.begin_anew()
        click(window.run_bar.pause)
        qtbot.waitUntil(lambda: window.run_bar.status.text() == "Paused", timeout=MINUTE)
        qtbot.waitUntil(lambda: answered(page) and page.choice.pair is not None, timeout=MINUTE)
        page.prompt.setPlainText("Which colour?")
        click(page.send_button)
        qtbot.waitUntil(lambda: answered(page), timeout=MINUTE)
        assert page.problem.text == ""
        assert page.memory.text().startswith("One model of ")
        assert page.memory.text().endswith(f"this is its checkpoint of update {record.state.update}.")
        (turn,) = page.conversation.turns
        probabilities += [turn.tuned.tokens[0].probability, turn.other.tokens[0].probability]
        paused_at = record.state.update
        click(window.run_bar.pause)
        qtbot.waitUntil(lambda: page.conversation.chat is None, timeout=MINUTE)
    early, base, late, base_again = probabilities
    assert base == base_again
    assert len({early, base, late}) == 3
    qtbot.waitUntil(lambda: record.state.update > paused_at, timeout=MINUTE)
    context.stop()
    qtbot.waitUntil(lambda: record.state.ended, timeout=MINUTE)
    assert record.state.status == "stopped"
    assert record.series["loss"].x.tolist() == list(range(1, record.state.step + 1))
