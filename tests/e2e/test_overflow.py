"""A loss scale that is far too large, in the real window: the search for the right one is seen, step by step."""

from __future__ import annotations

import itertools
from pathlib import Path

from pytestqt.qtbot import QtBot

from studio.ui.main_window import MainWindow
from tests.e2e.hands import choose, click, picture, type_into
from tests.e2e.seen import (
    assert_skipped_steps_change_nothing,
    assert_the_page_shows_every_step,
    journalled_steps,
    wait_for_the_end,
)
from tests.tiny import save_model, save_rows

UPDATES = 40


def test_a_scale_of_1e38_is_seen_to_halve_and_the_run_then_trains(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    setup = window.setup
    type_into(setup.model.path, str(save_model(tmp_path / "tiny-llama")), enter=True)
    setup.data.add_files([str(save_rows(tmp_path / "sums.jsonl", 60))])
    choose(setup.precision.choice, "fp16-mixed")
    type_into(setup.precision.form.rows["initial_scale"].editor.main, "1e38")
    type_into(setup.training.form.rows["learning_rate"].editor.main, "1e-2")
    click(setup.training.form.more.button)
    type_into(setup.training.form.rows["max_steps"].editor.main, str(UPDATES))
    qtbot.waitUntil(window.run_bar.start.isEnabled, timeout=60_000)
    click(window.run_bar.start)
    wait_for_the_end(window, qtbot, minutes=5)

    state = window.context.record.state
    assert (state.status, state.update) == ("finished", UPDATES), state.sentence
    steps = journalled_steps(window)
    search = list(itertools.takewhile(lambda step: step.skipped, steps))
    assert search[0].grad_scale == 1e38
    assert len(search) > 5
    assert len(steps) == UPDATES + state.skipped_steps
    assert_skipped_steps_change_nothing(steps)
    assert_the_page_shows_every_step(window, steps)
    assert state.validation_loss < state.first_validation_loss
    picture(window, "real-overflow")
