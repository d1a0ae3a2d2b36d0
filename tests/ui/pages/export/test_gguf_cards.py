"""The Export page shows how large a GGUF file will be, what each format cost, and creates a model in Ollama."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from studio.engine.export.certificate import Check, read_certificate
from studio.runner import actions
from studio.runner.actions import GgufChoices
from studio.runs import RunFolder
from studio.ui.bridge import AppContext
from studio.ui.models.exports import PastExport, gguf_rows
from studio.ui.pages.export.certificate import CertificateView
from studio.ui.pages.export.form import ExportForm
from studio.ui.pages.export.gguf import FormatsCard, OllamaCard
from tests.screenshots.scripted import START, scripted_certificate, scripted_runs


@pytest.fixture
def run(context: AppContext) -> RunFolder:
    return scripted_runs(context.runs_root)[0]


def _export(run: RunFolder, target: str, dtype: str, kl: float, size: int, *, good: bool = True) -> PastExport:
    name = f"{target}-{dtype}"
    scripted_certificate(run, name, good=good, created=START)
    certificate = read_certificate(run.exports / name)
    level = "small" if kl <= 0.05 else "heavy" if kl > 0.7 else "clear"
    evidence = {"dtype": dtype, "level": level, "top1": 1 - kl, "share": None, "kl_f16": None, "top1_f16": None}
    cost = Check.of("gguf_cost", True, kl, None, **evidence)
    files = {f"model-{dtype.upper()}.gguf": {"bytes": size, "sha256": "0"}, "README.md": {"bytes": 9, "sha256": "0"}}
    certificate = dataclasses.replace(
        certificate, target=target, dtype=dtype, files=files, checks=(*certificate.checks, cost)
    )
    return PastExport(path=run.exports / name, certificate=certificate)


def _texts(card: FormatsCard) -> list[str]:
    return [found.text() for found in card._table.findChildren(QLabel)]


def test_the_table_has_the_newest_file_of_each_format_the_largest_first(run: RunFolder, qtbot: QtBot) -> None:
    exports = [
        _export(run, "gguf", "q4_0", 0.25, 90 << 20),
        _export(run, "gguf", "f16", 0.0, 270 << 20),
        _export(run, "ollama", "q4_0", 0.75, 91 << 20, good=False),
    ]
    card = FormatsCard()
    qtbot.addWidget(card)

    card.set_exports(exports)

    assert [(row.dtype, row.kl) for row in gguf_rows(exports)] == [("f16", 0.0), ("q4_0", 0.25)]
    assert _texts(card)[-10:] == ["f16", "270 MB", "0", "100 %", "small", "q4_0", "90 MB", "0.25", "75 %", "clear"]
    assert not card.isHidden()
    card.set_exports([])
    assert card.isHidden()


def test_formats_are_offered_with_the_size_of_the_file_and_k_quants_only_where_they_can_be_written(
    run: RunFolder, qtbot: QtBot, context: AppContext
) -> None:
    form = ExportForm()
    qtbot.addWidget(form)
    form.cards["gguf"].setChecked(True)

    form.set_gguf(GgufChoices(sizes={"q8_0": 138 << 20, "q4_k_m": 101 << 20}, no_k_quants="Not written here."))
    offered = [form.dtype.itemText(index) for index in range(form.dtype.count())]
    assert "q8_0 · 138 MB" in offered
    form.dtype.set_value("q4_k_m")
    assert form._about_dtype.text() == "Not written here."
    assert not form.button.isEnabled()
    form.cards["merged"].setChecked(True)
    assert [form.dtype.itemText(index) for index in range(form.dtype.count())][1:] == ["fp32", "fp16", "bf16"]


def test_ollama_gets_the_model_and_its_answer_is_shown(
    context: AppContext, run: RunFolder, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[tuple[Path, str]] = []

    def create(folder: Path, name: str, progress: object) -> SimpleNamespace:
        created.append((folder, name))
        return SimpleNamespace(name=name, asked="Who?", answer="Me.", expected="Me.", same=True)

    monkeypatch.setattr(actions, "find_ollama", lambda: "0.99")
    monkeypatch.setattr(actions, "create_in_ollama", create)
    card = OllamaCard(context)
    qtbot.addWidget(card)
    export = _export(run, "ollama", "q8_0", 0.01, 138 << 20)

    card.set_export(_export(run, "gguf", "q8_0", 0.01, 138 << 20))
    assert card.isHidden()
    card.set_export(export)
    qtbot.waitUntil(lambda: card.summary == "version 0.99")
    card.name.setText("mine")
    card.button.click()

    qtbot.waitUntil(lambda: bool(card.verdict[0]))
    assert created == [(export.path, "mine")]
    assert card.verdict == ("Ollama has mine. Asked “Who?”, it answers “Me.”, as llama.cpp did.", "good")


def test_the_headline_of_a_file_says_what_its_format_costs_and_the_cards_leave_room_for_the_button(
    context: AppContext, run: RunFolder, qtbot: QtBot
) -> None:
    view = CertificateView(context)
    qtbot.addWidget(view)

    view.show_export(_export(run, "gguf", "q8_0", 0.01, 138 << 20))
    assert view.verdict == "Passed: it does what the trained model does"
    view.show_export(_export(run, "gguf", "q4_0", 0.9, 91 << 20))
    assert view.verdict == "The file is right. q4_0 makes another model of it: choose a larger format."

    form = ExportForm()
    qtbot.addWidget(form)
    form.show()
    form.cards["gguf"].setChecked(True)
    explained = [name for name, card in form.cards.items() if card._explanation.isVisible()]
    assert explained == ["gguf"]
    assert all(card.height() > card.fontMetrics().height() for card in form.cards.values())
    assert "folded in" in form.cards["merged"].toolTip()
