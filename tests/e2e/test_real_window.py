"""The real window, the real model, real rows: choose, start, watch, export, and use what came out without the studio."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.engine.models.starter import fetch_starter
from studio.resources import resource
from studio.runs import read_journal
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings

UPDATES = 6
MINUTES = 60_000
SCREENSHOTS = os.environ.get("FINETUNE_STUDIO_SCREENSHOTS")


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter model where the user has it; fetched once, as `finetune-studio starter` does."""
    monkeypatch.delenv("FINETUNE_STUDIO_HOME")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return fetch_starter()


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[MainWindow]:
    """The window with the real controller behind it."""
    settings = Settings(tmp_path / "settings.ini")
    settings.language = "en"
    settings.runs_root = tmp_path / "runs"
    theme.install(qapp, "light")
    context = AppContext(settings)
    made = MainWindow(context)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    with qtbot.waitExposed(made):
        made.show()
    yield made
    context.cancel_all()
    assert context.join(120)


def _picture(window: MainWindow, name: str) -> None:
    if SCREENSHOTS:
        window.grab().save(str(Path(SCREENSHOTS) / f"{name}.png"))


def test_a_person_fine_tunes_and_exports_a_real_model_by_clicking(
    window: MainWindow, qtbot: QtBot, starter: Path, tmp_path: Path
) -> None:
    window.setup.set_tables(
        {
            "model": {"path": str(starter)},
            "data": {"sources": [{"path": str(resource("samples", "fine-tuning-en.jsonl"))}]},
            "precision": {"name": "bf16-mixed"},
            "training": {"max_steps": UPDATES, "learning_rate": 1e-3, "evaluate_every": UPDATES},
        }
    )
    qtbot.waitUntil(window.run_bar.start.isEnabled, timeout=2 * MINUTES)
    _picture(window, "real-setup")
    qtbot.mouseClick(window.run_bar.start, Qt.MouseButton.LeftButton)

    record = lambda: window.context.record  # noqa: E731 - the window replaces it when the run starts
    qtbot.waitUntil(lambda: record() is not None and record().state.ended, timeout=15 * MINUTES)
    state = record().state
    assert (state.status, state.update) == ("finished", UPDATES), state.sentence
    assert state.validation_loss < state.first_validation_loss
    assert len(record().series["loss"]) == state.step
    _picture(window, "real-train")

    qtbot.mouseClick(window.rail["export"], Qt.MouseButton.LeftButton)
    export = window.pages["export"]
    qtbot.waitUntil(lambda: export.form.folder is not None and export.form.button.isEnabled(), timeout=MINUTES)
    qtbot.mouseClick(export.form.button, Qt.MouseButton.LeftButton)
    exports = record().folder.exports
    qtbot.waitUntil(lambda: bool(list(exports.glob("*/certificate.json"))), timeout=15 * MINUTES)
    qtbot.waitUntil(lambda: export.certificate.path is not None, timeout=MINUTES)
    _picture(window, "real-export")

    (certificate,) = exports.glob("*/certificate.json")
    written = json.loads(certificate.read_text(encoding="utf-8"))
    assert written["passed"], [check for check in written["checks"] if not check["passed"]]
    assert any(event.type == "run_finished" for event in read_journal(record().folder.journal))
    _compare_without_the_studio(starter, record().folder.adapter, certificate.parent)


def _compare_without_the_studio(base: Path, adapter: Path, merged: Path) -> None:
    """transformers on the export against peft on base + adapter: the same logits, fp32."""
    tokenizer = AutoTokenizer.from_pretrained(merged)
    prompt = [{"role": "user", "content": "Why does LoRA cost no latency once it is merged?"}]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        live = PeftModel.from_pretrained(plain, str(adapter)).eval()(**ids).logits
        ours = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()(**ids).logits
    assert float((live - ours).abs().max()) < 1e-3
