"""The prompt template on the Data card: typed, previewed at once, checked, and kept as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.engine.data.report import Remark
from studio.ui.bridge import AppContext
from studio.ui.pages.setup.page import SetupPage
from studio.ui.pages.setup.prompt_template_editor import FIRST, OWN, PromptTemplateEditor
from tests.ui.fakes import FakeEngine, FakeInspection

BASE = {"kind": "base", "has_template": False, "eos_token": "<end>"}


@pytest.fixture
def page(qtbot: QtBot, context: AppContext, engine: FakeEngine, tmp_path: Path) -> SetupPage:
    engine.model, engine.data = BASE, FakeInspection(format="alpaca")
    (tmp_path / "rows.jsonl").touch()
    result = SetupPage(context)
    qtbot.addWidget(result)
    result.resize(1200, 900)
    result.show()
    result.set_tables({"model": {"path": "/some/model"}, "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}]}})
    qtbot.waitUntil(lambda: result.data.verdict[0] == "412 rows")
    return result


def editor(page: SetupPage) -> PromptTemplateEditor:
    found = page.data.form.rows["prompt_template"].editor
    assert isinstance(found, PromptTemplateEditor)
    return found


def shown(page: SetupPage) -> str:
    return editor(page).preview.toPlainText()


def test_a_template_of_one_s_own_begins_with_a_good_one_and_previews_what_is_typed(
    page: SetupPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    assert shown(page) == "### User:\nWhat is the capital of France?\n\n### Assistant:\nParis<end>"
    qtbot.mouseClick(editor(page).choice.button(OWN), Qt.MouseButton.LeftButton)
    assert page.tables()["data"]["prompt_template"] == FIRST
    assert shown(page) == "### Instruction:\nWhat is the capital of France?\n\n### Response:\nParis<end>"
    editor(page).text.selectAll()
    before = len(engine.read)
    qtbot.keyClicks(editor(page).text, "Q: {question} A:")
    assert page.data.form.problem() == "Prompt template: {answer} has to stand in it exactly once."
    qtbot.keyClicks(editor(page).text, "{answer}")
    assert shown(page) == "Q: What is the capital of France? A:Paris<end>"
    assert page.tables()["data"]["prompt_template"] == "Q: {question} A:{answer}"
    qtbot.waitUntil(lambda: len(engine.read) > before)  # the rows of the file are rendered anew
    qtbot.waitUntil(lambda: page.start_problem() == "")


@pytest.mark.parametrize("template", ["Q:\r\n{question}\u00a0\n\tA: {answer}", " {question}\u2028{answer}"])
def test_what_a_configuration_says_stays_byte_for_byte(page: SetupPage, template: str) -> None:
    tables = page.tables()
    page.set_tables(tables | {"data": tables["data"] | {"prompt_template": template}})
    assert page.tables()["data"]["prompt_template"] == template


def test_a_no_break_space_is_still_one_after_an_edit(page: SetupPage, qtbot: QtBot) -> None:
    editor(page).set_value("{question}\u00a0→ {answer}")
    qtbot.keyClicks(editor(page).text, "»")
    assert editor(page).value() == "»{question}\u00a0→ {answer}"


def test_a_space_before_the_answer_is_explained(page: SetupPage) -> None:
    editor(page).set_value("{question}\nA: {answer}")
    assert editor(page)._space.isVisible()
    editor(page).set_value("{question}\nA:{answer}")
    assert not editor(page)._space.isVisible()


def test_a_chat_model_has_no_use_for_it(page: SetupPage) -> None:
    page.model.take({"model.kind": "chat", "model.chat_template": "chatml"})
    assert not page.data.form.rows["prompt_template"].isVisible()
    editor(page).set_value("{question}{answer}")
    page.data.set_model(page.model.info, page.model.found)
    assert page.data.form.rows["prompt_template"].isVisible()
    assert not editor(page).isEnabled()


def test_conversations_on_a_base_model_offer_to_install_a_template(
    page: SetupPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    assert not page.data.misfit.isVisible()
    engine.data = FakeInspection(format="messages")
    page.data.add_files(["/data/talks.jsonl"])
    qtbot.waitUntil(page.data.misfit.isVisible)
    assert page.data.misfit.words.text.startswith("The rows are conversations, and the model is a Base model")
    (button,) = page.data.misfit.buttons
    assert button.text() == "Install the template ChatML"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert page.tables()["model"] == {"path": "/some/model", "kind": "chat", "chat_template": "chatml"}
    qtbot.waitUntil(lambda: engine.read[-1] == ("/data/talks.jsonl", "chat"))
    qtbot.waitUntil(lambda: not page.data.misfit.isVisible())
    assert page.start_problem() == "" or "being read" in page.start_problem()


def test_plain_text_on_a_chat_model_offers_to_treat_it_as_a_base_model(
    page: SetupPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.model, engine.data = {}, FakeInspection(format="text")
    page.set_tables({"model": {"path": "/chat/model"}, "data": {"sources": [{"path": "/data/novel.txt"}]}})
    qtbot.waitUntil(page.data.misfit.isVisible)
    qtbot.mouseClick(page.data.misfit.buttons[0], Qt.MouseButton.LeftButton)
    assert page.tables()["model"]["kind"] == "base"
    qtbot.waitUntil(lambda: not page.data.misfit.isVisible())


def test_system_text_without_a_place_in_the_template_offers_the_question(
    page: SetupPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    assert page.data.form.rows["system_turns"].isHidden()
    left_out = Remark.of("system_dropped", file="/data/talks.jsonl", count=3, rows=412)
    engine.model = {}
    engine.data = FakeInspection(skipped=5, reasons={Remark("system_refused"): 5}, problems=(left_out,))
    page.set_tables({"model": {"path": "/chat/model"}, "data": {"sources": [{"path": "/data/talks.jsonl"}]}})
    qtbot.waitUntil(page.data.system.isVisible)
    assert "system text of 8 rows" in page.data.system.words.text
    engine.data = FakeInspection()
    (button,) = page.data.system.buttons
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert page.tables()["data"]["system_turns"] == "question"
    assert not page.data.form.rows["system_turns"].isHidden()
    qtbot.waitUntil(lambda: not page.data.system.isVisible())
