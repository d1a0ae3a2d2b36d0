"""The memory bar, its remedies and the measured fit, on a model that is large for this computer. Run by name.

    FINETUNE_STUDIO_LARGE_MODEL=DIR FINETUNE_STUDIO_SCREENSHOTS=OUT python -m pytest tests/e2e/large_model.py

Full fine-tuning of the model must be too much for the memory that is free, and LoRA must fit, on nf4 at least. A random model of 7.6 B parameters takes some minutes, most of them for the rounding to nf4.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from studio.ui.main_window import MainWindow
from tests.e2e.hands import click, picture

MODEL = os.environ.get("FINETUNE_STUDIO_LARGE_MODEL", "")
MINUTE = 60_000
CONFIG = """
[model]
path = "{model}"
kind = "base"
[[data.sources]]
path = "{rows}"
[data]
max_length = 128
[method]
name = "full"
[training]
batch_size = 2
max_steps = 2
"""


@pytest.mark.skipif(not MODEL, reason="needs a large model")
def test_a_remedy_makes_a_large_model_fit_and_its_first_batch_is_measured(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    rows, config = tmp_path / "rows.jsonl", tmp_path / "full.toml"
    rows.write_text("".join(json.dumps({"text": f"{n} " * 60}) + "\n" for n in range(16)), encoding="utf-8")
    config.write_text(CONFIG.format(model=MODEL, rows=rows), encoding="utf-8")
    setup = window.setup
    window.open_path(str(config))
    qtbot.waitUntil(lambda: bool(remedies(window, "LoRA")), timeout=5 * MINUTE)
    show_memory(window, "real-large-does-not-fit")

    click(remedies(window, "LoRA")[0])
    qtbot.waitUntil(lambda: fits(window) or bool(remedies(window, "nf4")), timeout=MINUTE)
    if not fits(window):
        click(remedies(window, "nf4")[0])
        qtbot.waitUntil(lambda: fits(window), timeout=MINUTE)
    show_memory(window, "real-large-remedy-taken")

    click(window.run_bar.start)
    qtbot.waitUntil(lambda: measured(window), timeout=40 * MINUTE)
    window.go_to("setup")
    assert setup.training.memory.measured.text()
    show_memory(window, "real-large-measured")
    record = window.context.record
    assert record is not None
    qtbot.waitUntil(lambda: record.state.ended, timeout=40 * MINUTE)
    assert record.state.status == "finished", record.state.sentence


def fits(window: MainWindow) -> bool:
    """Return whether the page says so, for the model, the rows and the method as they are now."""
    setup = window.setup
    return not setup.pending and setup.training.memory.isVisibleTo(setup) and setup.training.verdict[1] == "good"


def remedies(window: MainWindow, name: str) -> list[QPushButton]:
    """Return the buttons of the remedies that have this name among their words."""
    return [one for one in window.setup.training.memory.remedies if name in one.text()]


def measured(window: MainWindow) -> bool:
    """Return whether the run has measured its longest batch; fail where it has ended before."""
    record = window.context.record
    assert record is None or not record.state.ended, record.state.sentence
    return record is not None and record.state.memory is not None


def show_memory(window: MainWindow, name: str) -> None:
    """Scroll to the memory bar, and look."""
    setup = window.setup
    setup.area.verticalScrollBar().setValue(setup.training.y())
    picture(window, name)
