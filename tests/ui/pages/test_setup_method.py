"""The Method card: what a method amounts to for the chosen model is said before anything is trained."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from studio.config import parse_config
from studio.engine.methods import METHODS, Method
from studio.runner import actions
from studio.ui.main_window import MainWindow
from studio.ui.pages.setup_method import MethodCard
from tests.ui.fakes import GB, FakeEngine, choose


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


def test_what_does_not_fit_is_said_at_the_memory(ready: MainWindow, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.total_bytes = 30 * GB
    ready.setup.method.choice.set_value("full")
    qtbot.waitUntil(lambda: figures(ready.setup.method)["memory"] == "Memory: 30 GB may not fit in 24 GB")


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
