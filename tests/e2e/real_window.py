"""The real window, the real model, real rows: choose, start, watch, export, and use what came out without the studio.

`test_on_a_screen.py` runs it, on a screen where there can be one; by name it runs on the platform of Qt's variables.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.events import RunFinished
from studio.runs import RunFolder, read_journal
from studio.ui.main_window import MainWindow
from tests.e2e.hands import button, choose, choose_from_menu, click, picture, type_into
from tests.e2e.seen import (
    assert_skipped_steps_change_nothing,
    assert_the_page_shows_every_step,
    journalled_steps,
    wait_for_the_end,
)

# Few, because they take seconds each on a CPU; pictures want more.
UPDATES = int(os.environ.get("FINETUNE_STUDIO_UPDATES", "4"))
ROWS = 4
# The gradients of the first rows overflow above 2¹⁸ to 2²⁰, depending on the rows: a few steps are skipped.
SCALE = 2**21
MINUTE = 60_000
ANSWER = 48  # tokens of an answer in the chat


@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its menus
def test_a_person_fine_tunes_and_exports_a_real_model_by_clicking(
    window: MainWindow, qtbot: QtBot, starter: Path
) -> None:
    choose_everything(window, starter)
    assert [source.role for source in window.setup.data.sources] == ["domain"]
    qtbot.waitUntil(window.run_bar.start.isEnabled, timeout=2 * MINUTE)
    assert window.setup.model.verdict[0] == "Chat model, template found"
    picture(window, "real-setup")

    click(window.run_bar.start)
    wait_for_the_end(window, qtbot, minutes=15)
    record = window.context.record
    assert record is not None
    assert record.folder is not None
    state = record.state
    assert (state.status, state.update) == ("finished", UPDATES), state.sentence
    assert (state.method, state.precision) == ("lora", "fp16-mixed")
    assert state.validation_loss < state.first_validation_loss
    steps = journalled_steps(window)
    assert 1 <= state.skipped_steps <= 4
    assert_skipped_steps_change_nothing(steps)
    assert_the_page_shows_every_step(window, steps)
    picture(window, "real-train")

    merged = export(window, qtbot, record.folder)
    picture(window, "real-export")
    certificate = json.loads((merged / "certificate.json").read_text(encoding="utf-8"))
    assert certificate["passed"], [check for check in certificate["checks"] if not check["passed"]]
    assert any(isinstance(event, RunFinished) for event in read_journal(record.folder.journal))
    compare_without_the_studio(starter, record.folder.adapter, merged)

    ask_both(window, qtbot)
    picture(window, "real-chat")


def choose_everything(window: MainWindow, starter: Path) -> None:
    """A Chat model, a dataset, LoRA and fp16-mixed, with the keyboard and the mouse."""
    setup = window.setup
    type_into(setup.model.path, str(starter), enter=True)
    choose_from_menu(button(setup.data, "Sample data"), "Fine-tuning, questions and answers (English)")
    choose(setup.method.choice, "lora")
    choose(setup.precision.choice, "fp16-mixed")
    type_into(setup.precision.form.rows["initial_scale"].editor.main, str(SCALE))
    training = setup.training.form
    type_into(training.rows["batch_size"].editor.main, str(ROWS))
    type_into(training.rows["learning_rate"].editor.main, "1e-3")
    click(training.more.button)
    type_into(training.rows["max_steps"].editor.main, str(UPDATES))
    type_into(training.rows["evaluate_every"].editor.main, str(max(4, UPDATES // 4)))
    click(window.rail["setup"])
    setup.area.ensureVisible(0, 0)


def export(window: MainWindow, qtbot: QtBot, run: RunFolder) -> Path:
    """Press the one button of the Export page; return the folder once its certificate is shown."""
    click(window.rail["export"])
    page = window.pages["export"]
    qtbot.waitUntil(lambda: page.form.folder is not None and page.form.button.isEnabled(), timeout=MINUTE)
    click(page.form.button)
    qtbot.waitUntil(lambda: any(run.exports.glob("*/certificate.json")), timeout=15 * MINUTE)
    qtbot.waitUntil(lambda: page.certificate.path is not None, timeout=MINUTE)
    (certificate,) = run.exports.glob("*/certificate.json")
    return certificate.parent


def ask_both(window: MainWindow, qtbot: QtBot) -> None:
    """Ask the run and its base one question on the Chat page: one model in memory, two answers."""
    click(window.rail["chat"])
    page = window.pages["chat"]
    qtbot.waitUntil(lambda: page.choice.pair is not None and page.prompt.isVisible(), timeout=MINUTE)
    page.options.editors["limit"].set_value(ANSWER)
    click(page.prompt)
    QTest.keyClicks(page.prompt, "What does full fine-tuning mean?")
    QTest.keyClick(page.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.send_button.isVisible(), timeout=5 * MINUTE)
    (turn,) = page.conversation.turns
    assert 1 <= len(turn.tuned.tokens) <= ANSWER
    assert all(token.other is not None for side in (turn.tuned, turn.other) for token in side.tokens)
    (view,) = page.transcript.views
    assert view.tuned.text.toPlainText() == turn.tuned.text
    assert page.memory.text().startswith("One model ")


def compare_without_the_studio(base: Path, adapter: Path, merged: Path) -> None:
    """transformers on the export against peft on base + adapter: the same logits, fp32."""
    tokenizer = AutoTokenizer.from_pretrained(merged)
    prompt = [{"role": "user", "content": "Why does LoRA cost no latency once it is merged?"}]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        live = PeftModel.from_pretrained(plain, str(adapter)).eval()(**ids).logits
        ours = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()(**ids).logits
    assert float((live - ours).abs().max()) < 1e-3
