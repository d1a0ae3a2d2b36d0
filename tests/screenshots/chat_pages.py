"""Pictures of the Chat page. `render.py` draws them."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.engine.inference.answers import BASE, TUNED, ChatAnswer, Token
from studio.i18n import tr
from studio.runner.conversation import Conversation, Said, Turn
from studio.runner.record import RunRecord
from studio.ui.main_window import MainWindow
from tests.screenshots.scripted import scripted_runs
from tests.screenshots.windows import offscreen_context, settle, window_at

QUESTION = "A customer asks why her parcel has not come yet. What do you answer?"
BASE_SAYS = (
    "I would tell the customer that I am sorry for the delay and that I will look into it.\n\n"
    "1. **Check the tracking number**\n2. Call the carrier\n3. Wait for a few more days"
)
TUNED_SAYS = (
    "I am sorry that your parcel is late. It left our house on Monday, and the carrier has it. "
    "I have asked them where it is, and will write to you again before the end of tomorrow."
)


def scripted_said(model: str, text: str, seed: int, *, complete: bool = True) -> Said:
    """An answer whose words are its tokens."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    likely = [0.35 + 0.6 * ((seed * place) % 11) / 11 for place in range(len(words))]
    tokens = tuple(
        Token(id=hash(word) % 50_000, text=word, probability=share, other=0.6 * (1 - share))
        for word, share in zip(words, likely, strict=True)
    )
    if not complete:
        return Said(tokens=list(tokens))
    answer = ChatAnswer(
        model=model,
        text=text,
        tokens=tokens,
        ended=True,
        first_token_seconds=0.084,
        seconds=0.084 + 0.041 * len(tokens),
    )
    return Said(tokens=list(tokens), answer=answer)


def scripted_turns() -> list[Turn]:
    """Two questions, with answers that part."""
    first = Turn("Who are you?", tuned=scripted_said(TUNED, "I am the assistant of a small shop.", 3))
    first.other = scripted_said(BASE, "I am a helpful AI assistant named SmolLM.", 4)
    second = Turn(QUESTION, tuned=scripted_said(TUNED, TUNED_SAYS, 5), other=scripted_said(BASE, BASE_SAYS, 6))
    return [first, second]


def chat_window(turns: list[Turn]) -> MainWindow:
    """The window at the Chat page with a conversation."""
    context = offscreen_context()
    context.record = RunRecord(scripted_runs(context.runs_root)[0])
    window = window_at("chat", context)
    settle(context, 6)
    page = window.pages["chat"]
    assert isinstance(page.conversation, Conversation)
    page.conversation.turns = turns
    for turn in turns:
        page.transcript.add(turn, page.choice.names)
    page._show_state()
    return window


def page_chat() -> QWidget:
    """Two turns, answered."""
    return chat_window(scripted_turns())


def page_chat_settings() -> QWidget:
    """The settings, open, before the first question."""
    window = chat_window([])
    page = window.pages["chat"]
    page.settings.open()
    page.options.editors["system"].set_value("You are the assistant of a small shop. Be brief.")
    page.options.editors["temperature"].set_value(0.7)
    page.prompt.setPlainText(QUESTION)
    return window


def page_chat_streaming() -> QWidget:
    """The base answers, the tuned model has."""
    turn = Turn(QUESTION, tuned=scripted_said(TUNED, TUNED_SAYS, 5))
    turn.other = scripted_said(BASE, BASE_SAYS[:58], 6, complete=False)
    window = chat_window([turn])
    window.pages["chat"].transcript.views[-1].refresh()
    window.pages["chat"].show_busy(busy=True)
    return window


def page_chat_loading() -> QWidget:
    """The models are loaded for the first question."""
    window = chat_window([Turn(QUESTION)])
    page = window.pages["chat"]
    page.show_busy(busy=True)
    page.progress.report("loading_model", 118, 272)
    return window


def page_chat_failed() -> QWidget:
    """The base has changed since the training."""
    window = chat_window([])
    page = window.pages["chat"]
    page.prompt.setPlainText(QUESTION)
    words = tr(
        "The base model in {base} has changed since this run was trained ({files}); put the old files back, or train "
        "again."
    )
    page.problem.set(words.format(base="/models/SmolLM2-135M-Instruct", files="model.safetensors"), "bad")
    return window


def page_chat_empty() -> QWidget:
    """Before any run."""
    return window_at("chat", offscreen_context())
