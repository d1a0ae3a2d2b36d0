"""What the chat adds to a model's own time: to the first token, and to each further one while the window shows them.

    python tests/benchmarks/chat.py [--rounds 5] [--tokens 64] [--model DIR]

Needs the starter model. A LoRA run of two updates of it is asked one question, in turns:

- plain: `generate` of transformers on the tuned model, with a streamer that only notes the time of each token;
- page: the Chat page of the window, drawn offscreen, from the key that sends to the text that stands on the page.

The goals: the first token stands on the page within the model's own prefill and 50 ms, and the page adds at most 3 % to
the time of each further token. Medians over the rounds; the models are in memory before. On a busy machine the
processor time says more, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from export import _starter, _train
from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from studio.engine.inference.answers import TUNED, Token
from studio.runner.conversation import Side
from studio.runner.queue import RunQueue
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.main_window import MainWindow
from studio.ui.pages.chat.page import ChatPage
from studio.ui.settings import Settings

QUESTION = "Explain in a few sentences what fine-tuning of a language model does, and when it is worth its cost."
FIRST_GOAL, EACH_GOAL = 0.050, 0.03


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Seconds of one answer.

    Attributes:
        first: until the first token.
        each, worked: of each further token, by the clock, and of the processor in the thread of the model. The second
            counts all of its work with OMP_NUM_THREADS=1 alone.
        window: the share of the time in which the thread of the window was at work.
    """

    first: float
    each: float
    worked: float
    window: float = 0.0


def main() -> None:
    arguments = _arguments()
    gc.disable()  # as in the app: cyclic garbage that a worker collects takes Qt objects away under Qt
    app = QApplication([])
    app.setFont(theme.interface_font())
    theme.install(app, "light")
    with tempfile.TemporaryDirectory() as folder:
        _train(arguments.model or _starter(), Path(folder) / "runs")
        window, page = _open(Path(folder))
        page.options.editors["limit"].set_value(arguments.tokens)
        _ask(page)  # loads the models, and everything that is made once
        plain: list[Answered] = []
        shown: list[Answered] = []
        for number in range(arguments.rounds):
            sides = [
                (plain, lambda: _plain(window, page, arguments.tokens)),
                (shown, lambda: _ask(page)),
            ]
            for times, measure in sides if number % 2 == 0 else sides[::-1]:
                times.append(measure())
        _report(plain, shown)
        window.context.cancel_all()
        window.context.join(60)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", default="", help="default: the starter model")
    return parser.parse_args()


def _open(folder: Path) -> tuple[MainWindow, ChatPage]:
    settings = Settings(folder / "settings.ini")
    settings.runs_root = folder / "runs"
    window = MainWindow(AppContext(settings, None, RunQueue(folder / "queue.json")))
    window.resize(1280, 800)
    window.show()
    window.go_to("chat")
    page = window.pages["chat"]
    assert isinstance(page, ChatPage)
    return window, page


def _wait(reached: Callable[[], Any], milliseconds: int) -> None:
    """Let the window live until something is reached, which is looked at so often."""
    loop, timer = QEventLoop(), QTimer(interval=milliseconds)
    timer.timeout.connect(lambda: loop.quit() if reached() else None)
    timer.start()
    loop.exec()


def _ask(page: ChatPage) -> Answered:
    """Measure an answer as the page shows it."""
    _wait(lambda: page.choice.pair is not None and not any(job.running for job in page.findChildren(Job)), 100)
    page.begin_anew()
    page.prompt.setPlainText(QUESTION)
    shown: list[tuple[float, float]] = []
    worked: list[float] = []
    hand_on = page.conversation._receive

    def receive(side: Side) -> Callable[[Token], None]:
        give = hand_on(side)

        def note(token: Token) -> None:
            give(token)
            if side == "tuned":
                worked.append(time.thread_time())

        return note

    page.conversation._receive = receive  # type: ignore[method-assign]
    started = time.perf_counter()
    QTest.keyClick(page.prompt, Qt.Key.Key_Return)
    text = page.transcript.views[-1].tuned.text
    said = page.conversation.turns[-1].tuned
    text.textChanged.connect(lambda: shown.append((time.perf_counter(), time.thread_time())))
    _wait(lambda: said.answer is not None, 100)
    page.conversation._receive = hand_on  # type: ignore[method-assign]
    assert said.answer is not None
    later = len(said.tokens) - 1
    (first, busy), (last, still_busy) = shown[0], shown[-1]
    _wait(lambda: not any(job.running for job in page.findChildren(Job)), 100)
    return Answered(
        first=first - started,
        each=(said.answer.seconds - said.answer.first_token_seconds) / later,
        worked=(worked[-1] - worked[0]) / later,
        window=(still_busy - busy) / (last - first),
    )


class _Clock:
    """A streamer of transformers that notes when each token came."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def put(self, _value: Any) -> None:
        self.times.append((time.perf_counter(), time.thread_time()))

    def end(self) -> None:
        """Nothing is held back."""


@torch.no_grad()
def _generate(page: ChatPage, tokens: int) -> Answered:
    chat = page.conversation.chat
    assert chat is not None
    tuned: Any = chat.models[TUNED]
    model, clock = tuned.put_in_place(), _Clock()
    ids = torch.tensor([tuned.dialogue.renderer.prompt([{"role": "user", "content": QUESTION}])])
    started = time.perf_counter()
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=list(tuned.dialogue.ends),
        pad_token_id=tuned.dialogue.ends[0],
        streamer=clock,
    )
    _prompt, (first, busy), *_rest, (last, still_busy) = clock.times
    later = len(clock.times) - 2
    return Answered(first=first - started, each=(last - first) / later, worked=(still_busy - busy) / later)


def _plain(window: MainWindow, page: ChatPage, tokens: int) -> Answered:
    """Return the same of plain transformers, on the same model in memory, in a thread as the page has one."""
    task = window.context.start_task("plain", lambda _progress: _generate(page, tokens))
    _wait(lambda: task.done, 100)
    found: Answered = task.result()
    return found


def _report(plain: list[Answered], shown: list[Answered]) -> None:
    for name, figure in (("first token", "first"), ("each further token", "each"), ("its processor time", "worked")):
        ours, theirs = (1000 * statistics.median(getattr(one, figure) for one in side) for side in (shown, plain))
        print(f"{name:20} plain {theirs:7.1f} ms   page {ours:7.1f} ms")
    first = statistics.median(a.first - b.first for a, b in zip(shown, plain, strict=True))
    each, worked = (
        100
        * (statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(shown, plain, strict=True)) - 1)
        for figure in ("each", "worked")
    )
    window = 100 * statistics.median(one.window for one in shown)
    print(f"the first token comes {1000 * first:.1f} ms later (goal: {1000 * FIRST_GOAL:.0f} ms)")
    print(f"each further one takes {each:.1f} % longer (goal: {100 * EACH_GOAL:.0f} %)")
    print(f"in processor time {worked:.1f} % of the model's thread, and {window:.1f} % of another core for the window")


if __name__ == "__main__":
    main()
