"""Base or Chat on the Model card: the advisor, the trial, and the buttons that mend what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton
from pytestqt.qtbot import QtBot

from studio.engine.inference.behaviour import Behaviour, Tried
from studio.engine.models.info import TemplateOffer
from studio.ui.bridge import AppContext
from studio.ui.pages.setup.model_card import ModelCard
from tests.ui.fakes import FakeController, FakeEngine

BASE = {"kind": "base", "has_template": False, "reasons": ("It has no chat template.",)}


@pytest.fixture
def card(qtbot: QtBot, context: AppContext) -> ModelCard:
    result = ModelCard(context)
    qtbot.addWidget(result)
    result.resize(900, 900)
    result.show()
    return result


def choose(card: ModelCard, qtbot: QtBot, **values: str) -> None:
    card.set_values({"path": "/models/tiny", **values})
    qtbot.waitUntil(lambda: card.info is not None)


def click(qtbot: QtBot, button: QAbstractButton) -> None:
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def answer(card: ModelCard, qtbot: QtBot, purpose: str, manners: str) -> None:
    card.advisor.open()
    click(qtbot, card.advisor.purpose.button(purpose))
    click(qtbot, card.advisor.manners.button(manners))


def test_a_task_in_a_format_of_one_s_own_asks_for_a_base_model_and_one_click_takes_it(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model = BASE
    choose(card, qtbot)
    answer(card, qtbot, "task", "own")
    assert card.advisor.words.text().startswith("Take a Base model. Summaries, classification and extraction")
    click(qtbot, card.advisor.apply)
    assert card.values() == {"path": "/models/tiny", "kind": "base"}


def test_dialogue_on_a_base_model_installs_the_template_that_suits_it(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model = BASE | {"offers": (TemplateOffer("chatml", untaught=("<|im_end|>",)), TemplateOffer("headings"))}
    choose(card, qtbot)
    answer(card, qtbot, "dialogue", "own")
    assert card.advisor.apply.text() == "Install the template Headings"
    click(qtbot, card.advisor.apply)
    assert card.values() == {"path": "/models/tiny", "kind": "chat", "chat_template": "headings"}
    assert (card.info.kind, card.info.chat_template) == ("chat", "headings")
    assert card.verdict == ("Base model that learns dialogue, template Headings", "good")


def test_keeping_manners_asks_for_the_chat_model_of_the_family(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model = BASE
    choose(card, qtbot)
    answer(card, qtbot, "dialogue", "keep")
    assert card.advisor.words.text().startswith("Take a Chat model. It speaks already")
    assert not card.advisor.apply.isVisible()
    assert card.advisor.pick.text().endswith("usually called tiny-Instruct.")


def test_a_chat_model_is_treated_as_one_with_one_click(card: ModelCard, qtbot: QtBot) -> None:
    choose(card, qtbot, kind="base")
    answer(card, qtbot, "task", "keep")
    click(qtbot, card.advisor.apply)
    assert card.info.kind == "chat"


def test_a_chat_kind_without_a_template_stops_the_start_until_a_remedy_is_clicked(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model = BASE
    choose(card, qtbot, kind="chat")
    assert card.verdict == ("The model is to be treated as a Chat model, but it has no template that works.", "bad")
    assert card.problem() == card.verdict[0]
    assert [button.text() for button in card.remedies.buttons] == [
        "Install the template ChatML",
        "Treat it as a Base model",
    ]
    click(qtbot, card.remedies.buttons[0])
    assert card.problem() == ""
    assert card.values()["chat_template"] == "chatml"
    assert not card.remedies.isVisible()


def test_a_template_without_its_tokens_is_refused_with_one_that_works(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model = BASE | {"offers": (TemplateOffer("chatml", ("<|im_start|>",)), TemplateOffer("headings"))}
    choose(card, qtbot, chat_template="chatml")
    assert card.problem() == "The template chatml needs <|im_start|>, which the tokenizer does not have."
    click(qtbot, card.remedies.buttons[0])
    assert card.info.chat_template == "headings"
    assert card.problem() == ""


def tried(ended: bool) -> Behaviour:
    return Behaviour((Tried(manner="template", prompt="?", text="", tokens=3, ended=ended),), limit=48)


def test_a_trial_adds_what_it_found_and_offers_the_kind_that_the_model_behaves_like(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.behaviour = tried(ended=False)
    choose(card, qtbot)
    click(qtbot, card.try_button)
    qtbot.waitUntil(card.remedies.isVisible)
    assert "• Tried: asked 1 questions through its template, it ended none" in card._reasons.text()
    assert card.try_button.isEnabled()
    click(qtbot, card.remedies.buttons[0])
    assert card.info.kind == "base"
    assert not card.remedies.isVisible()


def test_another_model_forgets_the_trial(card: ModelCard, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.behaviour = tried(ended=True)
    choose(card, qtbot)
    click(qtbot, card.try_button)
    qtbot.waitUntil(lambda: "Tried" in card._reasons.text())
    assert not card.remedies.isVisible()
    choose(card, qtbot, path="/models/other")
    assert "Tried" not in card._reasons.text()


def test_a_trial_can_be_cancelled(
    card: ModelCard, engine: FakeEngine, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from studio.runner import actions

    def endless(_info: object, progress: object) -> None:
        while True:
            progress("trying", 1, 2)  # type: ignore[operator]

    monkeypatch.setattr(actions, "try_model", endless)
    choose(card, qtbot)
    click(qtbot, card.try_button)
    assert not card.try_button.isEnabled()
    click(qtbot, card._trying.cancel)
    qtbot.waitUntil(card.try_button.isEnabled)
    assert not card._trying.isVisible()
    assert card.info is not None


def test_nothing_is_tried_while_a_run_needs_the_memory(
    card: ModelCard, context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    choose(card, qtbot)
    controller.running = True
    with qtbot.waitSignal(context.message) as said:
        click(qtbot, card.try_button)
    assert said.args[0].startswith("A run is training")
    controller.running = False
