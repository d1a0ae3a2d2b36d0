"""The Chat page: from the prompt to two answers, with fakes where the models would be."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QHelpEvent, QTextCursor
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from studio.engine.inference.answers import BASE, TUNED, Token
from studio.engine.inference.prompts import KnownPrompt
from studio.errors import ExportError
from studio.runner import actions
from studio.runs import RunFolder
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.models.run_summary import RunSummary
from studio.ui.pages.chat import answer as answer_module
from studio.ui.pages.chat import files
from studio.ui.pages.chat.answer import AnswerText, token_text
from studio.ui.pages.chat.page import ChatPage
from tests.screenshots.scripted import scripted_runs
from tests.ui.chat_fakes import FakeChat
from tests.ui.fakes import FakeController, answered


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    """The models that are opened."""
    fake = FakeChat({TUNED: "It is red.", BASE: "It is <b>blue</b>."}, Path())
    monkeypatch.setattr(actions, "open_chat", lambda *_args, **_named: fake)
    return fake


@pytest.fixture
def page(context: AppContext, qtbot: QtBot, chat: FakeChat) -> ChatPage:
    scripted_runs(context.runs_root)
    page = ChatPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    return page


def ask(page: ChatPage, qtbot: QtBot, prompt: str = "Which colour?") -> None:
    page.prompt.setPlainText(prompt)
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: answered(page))


def test_enter_asks_both_models_and_their_answers_stand_side_by_side(page: ChatPage, qtbot: QtBot) -> None:
    ask(page, qtbot)
    (view,) = page.transcript.views
    assert view.tuned.text.toPlainText() == "It is red."
    assert view.other.text.toPlainText() == "It is <b>blue</b>."  # text, not HTML
    assert view.other.mapTo(page, QPoint()).x() < view.tuned.mapTo(page, QPoint()).x()
    assert "3 tokens · first after 50 ms" in view.tuned.facts.text()
    assert view.difference.text() == (
        "The answers part at token 3: the left model takes “ <b>blue</b>.” (50 %; the other gives it 25 %), "
        "the right one “ red.” (50 %; the other gives it 25 %)."
    )
    assert page.prompt.toPlainText() == ""
    assert page.send_button.isVisible()


def test_the_first_token_that_differs_is_marked_in_both(page: ChatPage, qtbot: QtBot) -> None:
    ask(page, qtbot)
    view = page.transcript.views[0]
    for side, word in ((view.tuned, " red."), (view.other, " <b>blue</b>.")):
        (mark,) = side.text.extraSelections()
        assert mark.cursor.selectedText() == word.strip()
        assert mark.format.fontUnderline()


def test_the_mouse_over_a_token_tells_both_probabilities(
    page: ChatPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    tips = SimpleNamespace(showText=lambda _where, words, _widget: told.append(words))
    monkeypatch.setattr(answer_module, "QToolTip", tips)
    ask(page, qtbot)
    text = page.transcript.views[0].tuned.text
    cursor = QTextCursor(text.document())
    cursor.setPosition(4)
    where = text.cursorRect(cursor).center()
    QApplication.sendEvent(
        text.viewport(), QHelpEvent(QHelpEvent.Type.ToolTip, where, text.viewport().mapToGlobal(where))
    )
    assert told == ["“ is”\nThis model: 50 %\nThe other model: 25 %"]


def test_the_mark_stays_on_its_token_while_the_answer_grows(qtbot: QtBot) -> None:
    text = AnswerText("answer")
    qtbot.addWidget(text)
    tokens = [Token(id=place, text=word, probability=0.5) for place, word in enumerate(("It", " is", " red", "."))]
    for count in range(1, 5):
        text.show_tokens(tokens[:count], 1)
    (mark,) = text.extraSelections()
    assert mark.cursor.selectedText() == "is"


def test_an_answer_that_is_complete_is_not_drawn_again_while_the_one_beside_it_grows(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = AnswerText("answer")
    qtbot.addWidget(text)
    tokens = [Token(id=place, text=word, probability=0.5) for place, word in enumerate(("It", " is"))]
    text.show_tokens(tokens, None)
    drawn: list[object] = []
    monkeypatch.setattr(text, "setExtraSelections", drawn.append)
    text.show_tokens(list(tokens), None)
    assert not drawn
    text.show_tokens(tokens, 1)
    assert len(drawn) == 1


def test_tokens_are_found_behind_characters_of_two_units(qtbot: QtBot) -> None:
    text = AnswerText("answer")
    qtbot.addWidget(text)
    tokens = [Token(id=place, text=word, probability=0.5) for place, word in enumerate(("👩‍💻", " ok", "\n", "new"))]
    text.show_tokens(tokens, None)
    found = [text.token_at(position) for position in range(len(text.toPlainText().encode("utf-16-le")) // 2)]
    assert found == [0] * 5 + [1] * 3 + [2] + [3] * 3
    assert "⏎" in token_text(tokens[2])


def test_escape_stops_and_keeps_what_was_said(page: ChatPage, qtbot: QtBot, chat: FakeChat) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait_at_two(place: int) -> None:
        if place == 3:
            reached.set()
            go_on.wait(5)

    chat.models[TUNED].before_token = wait_at_two
    page.prompt.setPlainText("Which colour?")
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(reached.is_set)
    view = page.transcript.views[0]
    qtbot.waitUntil(lambda: view.tuned.text.toPlainText() == "It is")  # it streams
    assert page.stop_button.isVisible()
    assert not page.choice.isEnabled()
    qtbot.keyClick(page.prompt, Qt.Key.Key_Escape)
    go_on.set()
    qtbot.waitUntil(lambda: answered(page))
    assert view.tuned.facts.text().startswith("Stopped after")
    assert view.other.facts.text() == "Not asked"
    assert page.send_button.isVisible()


def test_a_failure_is_one_sentence_and_the_question_is_not_lost(
    page: ChatPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ExportError("The base model has changed.")

    monkeypatch.setattr(actions, "open_chat", fail)
    ask(page, qtbot)
    assert page.problem.text == "The base model has changed."
    assert page.prompt.toPlainText() == "Which colour?"
    assert page.transcript.views == []


def test_settings_reach_both_models_and_a_wrong_one_is_said(page: ChatPage, qtbot: QtBot, chat: FakeChat) -> None:
    page.options.editors["system"].set_value("Be brief.")
    page.options.editors["temperature"].set_value(0.7)
    ask(page, qtbot)
    for name in (TUNED, BASE):
        assert (chat.models[name].settings[0].system, chat.models[name].settings[0].temperature) == ("Be brief.", 0.7)
    page.options.editors["top_p"].set_value(2)
    page.prompt.setPlainText("And now?")
    assert not page.send_button.isEnabled()
    assert page.problem.text.startswith("Top-p: ")


def test_ctrl_enter_sends_and_starts_no_training(
    ready: MainWindow, controller: FakeController, qtbot: QtBot, chat: FakeChat
) -> None:
    scripted_runs(ready.context.runs_root)
    ready.go_to("chat")
    page = ready.pages["chat"]
    assert isinstance(page, ChatPage)
    qtbot.waitUntil(lambda: answered(page))
    page.prompt.setFocus()
    page.prompt.setPlainText("Which colour?")
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: answered(page))
    assert len(page.transcript.views) == 1
    assert controller.started == []


def test_shift_enter_begins_a_line(page: ChatPage, qtbot: QtBot) -> None:
    page.prompt.setPlainText("One")
    page.prompt.moveCursor(QTextCursor.MoveOperation.End)
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert page.prompt.toPlainText() == "One\n"
    assert page.transcript.views == []


def test_other_models_begin_a_new_conversation(page: ChatPage, qtbot: QtBot) -> None:
    ask(page, qtbot)
    assert "513 MB" in page.memory.text()
    page.choice.beside.set_value(page.choice.beside.itemData(1))
    assert page.transcript.views == []
    assert page.conversation.turns == []


def test_a_training_that_begins_gets_the_memory(
    page: ChatPage, qtbot: QtBot, chat: FakeChat, controller: FakeController, context: AppContext
) -> None:
    ask(page, qtbot)
    controller.running = True
    context.run_state_changed.emit()
    qtbot.waitUntil(lambda: chat.closed)
    controller.running = False


def test_a_training_that_goes_on_during_an_answer_gets_the_memory_after_it(
    page: ChatPage, qtbot: QtBot, chat: FakeChat, controller: FakeController, context: AppContext
) -> None:
    go_on = threading.Event()
    chat.models[TUNED].before_token = lambda _place: go_on.wait(5) and None
    controller.running = controller.paused = True
    context.run_state_changed.emit()
    page.prompt.setPlainText("Which colour?")
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return)
    controller.paused = False
    context.run_state_changed.emit()
    assert not chat.closed
    go_on.set()
    qtbot.waitUntil(lambda: chat.closed)
    assert page.transcript.views[0].tuned.text.toPlainText() == "It is red."
    controller.running = False


@pytest.mark.parametrize("rest", ["pause", "end"])
def test_a_run_that_comes_to_rest_is_offered_and_asked_as_it_is_now(
    page: ChatPage, qtbot: QtBot, chat: FakeChat, controller: FakeController, context: AppContext, rest: str
) -> None:
    controller.running = True
    context.run_state_changed.emit()
    ask(page, qtbot)
    chat.note = "The run is under way; this is its checkpoint of update 3."
    pair = page.choice.pair
    assert pair is not None
    assert page.conversation.holds(pair)
    before = page.choice.run.count()
    folder = context.runs_root / "20991231-new"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.toml").write_text("")
    (folder / "state.json").write_text(json.dumps({"format": 1, "status": "finished", "created": 1, "model": {}}))
    controller.paused, controller.running = rest == "pause", rest == "pause"
    context.run_state_changed.emit()
    assert not page.conversation.holds(pair)
    qtbot.waitUntil(lambda: page.choice.run.count() == before + 1)
    controller.running = False


def test_without_a_run_the_page_says_what_to_do(context: AppContext, qtbot: QtBot) -> None:
    page = ChatPage(context)
    qtbot.addWidget(page)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    assert not page.prompt.isVisible()


def test_a_known_prompt_is_one_click_away_and_its_answer_stands_below(
    page: ChatPage, qtbot: QtBot, chat: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (
        KnownPrompt(origin="held_out", prompt="Which colour & why?", answer="Red.", system="Be brief."),
        KnownPrompt(origin="retention", prompt="What is 7 times 8?", answer="56"),
    )
    monkeypatch.setattr(actions, "known_prompts", lambda _folder, _progress: known)
    page.known.menu.aboutToShow.emit()
    qtbot.waitUntil(lambda: answered(page))
    (row,) = [action for action in page.known.menu.actions() if action.text() == "Which colour && why?"]
    row.trigger()
    assert page.prompt.toPlainText() == "Which colour & why?"
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: answered(page))
    assert chat.models[TUNED].settings[0].system == "Be brief."
    assert page.transcript.views[0].expected.text() == "Known answer: Red."


def test_an_answer_becomes_a_row_and_the_conversation_a_file(
    page: ChatPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, saved = tmp_path / "rows.jsonl", tmp_path / "said.md"
    rows.write_text('{"messages": []}')  # without a line end
    ask(page, qtbot)
    dialog = SimpleNamespace(Option=QFileDialog.Option, getSaveFileName=lambda *_a, **_n: (str(rows), ""))
    monkeypatch.setattr(files, "QFileDialog", dialog)
    qtbot.mouseClick(page.transcript.views[0].tuned.keep, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: answered(page))
    added = json.loads(rows.read_text().splitlines()[1])
    assert [turn["content"] for turn in added["messages"]] == ["Which colour?", "It is red."]
    dialog.getSaveFileName = lambda *_a, **_n: (str(tmp_path / "said"), "")
    qtbot.mouseClick(page.save_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: answered(page))
    text = saved.read_text()
    assert text.index("Which colour?") < text.index("It is <b>blue</b>.") < text.index("It is red.")


def test_a_file_that_cannot_be_written_is_said(
    page: ChatPage, qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ask(page, qtbot)
    path = tmp_path / "missing" / "rows.jsonl"
    dialog = SimpleNamespace(Option=QFileDialog.Option, getSaveFileName=lambda *_a, **_n: (str(path), ""))
    monkeypatch.setattr(files, "QFileDialog", dialog)
    with qtbot.waitSignal(context.message) as told:
        qtbot.mouseClick(page.transcript.views[0].other.keep, Qt.MouseButton.LeftButton)
    assert "cannot be written" in str(told.args)


def test_runs_under_way_can_be_asked_once_they_have_a_checkpoint() -> None:
    def run(status: str, *, learnt: bool) -> RunSummary:
        return RunSummary(folder=RunFolder(Path("/runs/one")), status=status, learnt=learnt)

    asked = [run(status, learnt=learnt).can_be_asked for status in ("running", "paused") for learnt in (True, False)]
    assert asked == [True, False, True, False]
    assert not run("paused", learnt=True).can_be_exported


def test_a_base_model_goes_on_with_text_unless_it_was_taught_questions(
    context: AppContext, qtbot: QtBot, chat: FakeChat
) -> None:
    for number, template in enumerate(("", "Q: {question}\nA:{answer}")):
        folder = context.runs_root / f"2026112{number}-base"
        (folder / "adapter").mkdir(parents=True)
        (folder / "config.toml").write_text(f"[data]\nprompt_template = {json.dumps(template)}\n")
        state = {"format": 1, "status": "finished", "created": number, "model": {"name": "Base", "kind": "base"}}
        (folder / "state.json").write_text(json.dumps(state))
    page = ChatPage(context)
    qtbot.addWidget(page)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    found = {}
    for row in range(page.choice.run.count()):
        page.choice.run.set_value(page.choice.run.itemData(row))
        found[page.choice.run.itemData(row)[-6:]] = page.options.settings.asked
    assert found == {"0-base": "plain", "1-base": "template"}


def test_runs_that_are_read_while_models_answer_change_nothing(page: ChatPage, qtbot: QtBot, chat: FakeChat) -> None:
    go_on = threading.Event()
    chat.models[TUNED].before_token = lambda _place: go_on.wait(5) and None
    page.reload()  # still under way when the question is sent
    page.prompt.setPlainText("Which colour?")
    qtbot.keyClick(page.prompt, Qt.Key.Key_Return)
    page._show_runs([])
    assert len(page.transcript.views) == 1
    go_on.set()
    qtbot.waitUntil(lambda: answered(page))
    assert page.transcript.views[0].tuned.text.toPlainText() == "It is red."
