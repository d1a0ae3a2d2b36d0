"""The Method card: what a method amounts to for the chosen model is said before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from studio.config import parse_config
from studio.engine.methods import METHODS, Method
from studio.engine.models.shapes import ModelShapes
from studio.runner import actions
from studio.ui.forms.names import BY_NAME, NamesEditor
from studio.ui.main_window import MainWindow
from studio.ui.pages.setup.method_card import MethodCard
from tests.engine.methods.layouts import shapes_of
from tests.ui.fakes import GB, FakeEngine, choose

SUGGESTIONS, CHECK_METHOD = actions.suggestions, actions.check_method


def exports(method: Method) -> str:
    """The forms of export that a method has, as the registry of targets says."""
    return ", ".join(target.title for target in actions.exports_of(method))


def figures(card: MethodCard) -> dict[str, str]:
    return {key: figure.text for key, figure in card.facts.figures.items()}


def test_the_card_says_what_the_method_amounts_to_for_the_model(ready: MainWindow) -> None:
    card = ready.setup.method
    assert figures(card) == {
        "trainable": "Trained: 4.9 M 3.5 % of 139 M",
        "patch": "Saved patch: 19 MB on disk",
        "memory": "Memory: 5 GB of 24 GB available",
        "merges": "Merges: Yes into the base",
    }
    assert card.facts.cost.text() == METHODS.get("lora").cost_in_use
    assert card.facts.exports.text() == exports(METHODS.get("lora"))
    assert "ΔW = B·A" in card._explanation.text()


def test_what_holds_for_every_model_is_said_before_one_is_chosen(window: MainWindow) -> None:
    card = window.setup.method
    assert figures(card)["trainable"] == "Trained: –"
    assert figures(card)["merges"] == "Merges: Yes into the base"
    assert card.facts.exports.text() == exports(METHODS.get("lora"))


def test_figures_follow_the_method(ready: MainWindow, qtbot: QtBot) -> None:
    card = ready.setup.method
    card.choice.set_value("full")
    assert figures(card)["trainable"] == "Trained: –"  # not those of LoRA while nothing is known
    qtbot.waitUntil(lambda: figures(card)["trainable"] == "Trained: 135 M 96 % of 139 M")
    assert figures(card)["patch"] == "Saved patch: 513 MB on disk"
    assert figures(card)["merges"] == "Merges: Not needed is a whole model"
    assert card.facts.exports.text() == exports(METHODS.get("full"))
    assert not card.facts.notice.isVisible()


def test_that_a_method_cannot_be_merged_is_said_before_training_with_what_the_export_will_be(
    unmergeable: Method, ready: MainWindow, qtbot: QtBot
) -> None:
    card = ready.setup.method
    assert not card.facts.notice.isVisible()
    card.choice.set_value("side")
    assert card.facts.notice.isVisible()
    assert exports(unmergeable) == "Adapter"
    assert card.facts.notice.text == "It cannot be merged into the base. What you can export: Adapter."
    assert figures(card)["merges"] == "Merges: No stays apart"
    qtbot.waitUntil(lambda: card.verdict[1] == "good")  # it is no obstacle
    assert ready.setup.start_problem() == ""
    card.choice.set_value("lora")  # the window lives longer than the method


def test_what_does_not_fit_is_said_at_the_memory(ready: MainWindow, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.total_bytes = 30 * GB
    ready.setup.method.choice.set_value("full")
    qtbot.waitUntil(lambda: figures(ready.setup.method)["memory"] == "Memory: 30 GB does not fit in 24 GB")


def test_a_wrong_option_leaves_no_figures_that_would_be_wrong_too(ready: MainWindow, qtbot: QtBot) -> None:
    card = ready.setup.method
    rank = card.form.rows["rank"].editor.main
    assert isinstance(rank, QLineEdit)
    rank.setText("1x")
    assert card.verdict == ("Rank: Enter a whole number, such as 8.", "bad")
    assert figures(card)["patch"] == "Saved patch: –"
    qtbot.waitUntil(lambda: not card.compare.isEnabled())
    assert "rank" in card.compare.toolTip()


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_a_form_whose_defaults_are_a_configuration(window: MainWindow, name: str) -> None:
    card = window.setup.method
    card.choice.set_value(name)
    assert card.problem() == ""
    tables = {"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "method": card.values()}
    assert parse_config(tables).method == METHODS.get(name).config()


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_explains_itself_within_the_card(window: MainWindow, name: str, qtbot: QtBot) -> None:
    """At 1280 x 800 no word of the card is cut off: every label has the height that its text takes."""
    card = window.setup.method
    card.choice.set_value(name)
    window.setup.area.ensureWidgetVisible(card)

    def cut() -> list[str]:
        labels = [part for part in card.findChildren(QLabel) if part.isVisible() and part.wordWrap()]
        return [part.text() for part in labels if part.height() < part.heightForWidth(part.width())]

    qtbot.waitUntil(lambda: not cut())


def test_figures_and_sentences_have_names_for_screen_readers(ready: MainWindow) -> None:
    facts = ready.setup.method.facts
    assert facts.figures["patch"].accessibleName() == "Saved patch: 19 MB on disk"
    assert facts.exports.accessibleName() == f"Exports: {exports(METHODS.get('lora'))}"
    assert facts.cost.accessibleName().startswith("Cost in use: ")
    assert all(figure.toolTip() for figure in facts.figures.values())


def test_the_comparison_waits_for_a_model_and_says_so(window: MainWindow, qtbot: QtBot, tmp_path: object) -> None:
    compare = window.setup.method.compare
    assert not compare.isEnabled()
    assert compare.toolTip() == "Choose a model first."
    choose(window, tmp_path)  # type: ignore[arg-type]
    qtbot.waitUntil(compare.isEnabled)
    assert compare.focusPolicy() & Qt.FocusPolicy.TabFocus


@pytest.fixture
def real(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers and refusals as the engine has them."""
    monkeypatch.setattr(actions, "suggestions", SUGGESTIONS)
    monkeypatch.setattr(actions, "check_method", CHECK_METHOD)


def take_model(window: MainWindow, engine: FakeEngine, shapes: ModelShapes, qtbot: QtBot) -> None:
    """Choose a model of these shapes."""
    engine.model = {"shapes": shapes}
    window.setup.model.accept()
    qtbot.waitUntil(lambda: window.setup.model.info is not None)


@pytest.fixture
def llama_chosen(window: MainWindow, engine: FakeEngine, real: None, qtbot: QtBot, tmp_path: Path) -> MainWindow:
    """The window with a tiny Llama chosen."""
    engine.model = {"shapes": shapes_of("llama", tmp_path / "llama")}
    choose(window, tmp_path)
    qtbot.waitUntil(lambda: all(card.verdict[1] == "good" for card in window.setup.cards))
    return window


def where(window: MainWindow) -> NamesEditor:
    editor = window.setup.method.form.rows["target_modules"].editor
    assert isinstance(editor, NamesEditor)
    return editor


def test_the_layers_on_offer_are_those_of_the_model(llama_chosen: MainWindow) -> None:
    editor = where(llama_chosen)
    editor.choice.set_value(BY_NAME)
    assert [item.text() for item in editor.list.rows()] == [
        *(f"self_attn.{part}_proj" for part in "qkvo"),
        *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
    ]
    assert llama_chosen.setup.method.values()["target_modules"] == editor.list.checked()
    llama_chosen.setup.method.take("ia3")
    editor = where(llama_chosen)
    editor.choice.set_value(BY_NAME)
    assert editor.list.checked() == ["self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"]


def test_layers_that_another_model_lacks_are_refused_until_they_are_taken_away(
    llama_chosen: MainWindow, engine: FakeEngine, qtbot: QtBot, tmp_path: Path
) -> None:
    card, start = llama_chosen.setup.method, llama_chosen.actions_by_name["start"]
    card.set_values({"name": "lora", "target_modules": ["q_proj", "v_proj"]})
    qtbot.waitUntil(lambda: card.verdict[1] == "good" and start.isEnabled())
    take_model(llama_chosen, engine, shapes_of("gpt2", tmp_path / "gpt2"), qtbot)
    refusal = "method.target_modules: q_proj is not the name of a linear layer of this model; did you mean "
    qtbot.waitUntil(lambda: card.verdict[1] == "bad" and not start.isEnabled())
    assert card.verdict[0].startswith(refusal)
    qtbot.waitUntil(lambda: llama_chosen.setup.start_problem() == card.verdict[0])
    assert figures(card)["trainable"] == "Trained: –"
    assert card.compare.isEnabled()  # another method may suit the model
    ticks = where(llama_chosen).list
    assert ticks.checked() == ["q_proj", "v_proj"]
    for row, state in ((0, Qt.CheckState.Checked), (4, Qt.CheckState.Unchecked), (5, Qt.CheckState.Unchecked)):
        ticks.item(row).setCheckState(state)
    assert card.values()["target_modules"] == ["attn.c_attn"]
    qtbot.waitUntil(lambda: card.verdict[1] == "good" and start.isEnabled())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": "lora", "target_modules": ["lm_head"]}, "method.target_modules: lm_head is the output or an embe"),
        ({"name": "ia3", "target_modules": ["lm_head"]}, "method.target_modules: lm_head is the output or an embed"),
        ({"name": "lora", "target_modules": ["q_proj", "v_porj"]}, "method.target_modules: v_porj is not the name "),
        ({"name": "lora", "init": "pissa", "dropout": 0.0, "rank": 20}, "method.rank = 20: an adapted layer has 16 "),
        ({"name": "full", "freeze_layers": 900}, "method.freeze_layers = 900: this model has 2 layers; freeze 2 at m"),
    ],
)
def test_what_the_model_refuses_is_a_problem_of_the_card_before_start(
    table: dict[str, Any], words: str, llama_chosen: MainWindow
) -> None:
    card = llama_chosen.setup.method
    card.set_values(table)
    card.changed.emit()
    assert card.verdict[1] == "bad"
    assert card.verdict[0].startswith(words)
    assert llama_chosen.setup.start_problem() == card.verdict[0]
    assert figures(card)["patch"] == "Saved patch: –"
