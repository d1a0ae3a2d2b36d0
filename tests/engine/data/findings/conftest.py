"""Honest sets of several layouts, in which nothing may be found, and a look at what is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import DataSource
from studio.engine.data.findings import Finding
from studio.engine.data.inspect import inspect_data

Rows = list[dict[str, Any]]
Found = Callable[[Rows], dict[str, Finding]]

SAMPLES = Path(__file__).parents[4] / "resources" / "samples"
THINGS = ["phone", "lamp", "chair", "kettle", "desk", "shoe", "jacket", "cable", "radio", "bag", "watch", "kite"]
KINDS = ["great", "bad", "slow", "fast", "sturdy", "cheap", "lovely", "ugly", "noisy", "handy", "broken", "odd"]
PAIRS = [(kind, thing) for kind in KINDS for thing in THINGS]

INSTRUCTION = (
    "You are a careful assistant for an online shop. Read the review below and decide whether the customer is "
    "satisfied. Consider tone, wording and the facts that are named, and ignore spelling. Review: {} Answer with "
    "exactly one word, positive or negative, and nothing else at all."
)
PREMISE = (
    "People sit in a large green park beside the {} {} on a warm summer afternoon. Some of them are reading, others "
    "are eating sandwiches, while children run around with a red ball and a small dog follows them, barking loudly."
)


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def talk(*turns: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]}


def labels() -> Rows:
    """The same long instruction around each short text, and two answers."""
    reviews = [f"The {thing} is {kind} and I {'like' if len(kind) > 4 else 'return'} it." for kind, thing in PAIRS]
    return [pair(INSTRUCTION.format(text), "positive" if "like" in text else "negative") for text in reviews]


def sums() -> Rows:
    signs = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    return [
        pair(f"What is {a} {sign} {b}?", str(apply(a, b)))
        for sign, apply in signs.items()
        for a in range(3, 10)
        for b in range(2, 9)
    ]


def inference() -> Rows:
    """Several short hypotheses for each long premise."""
    asked = [("People are outdoors.", "yes"), ("Everyone is asleep.", "no"), ("Children are playing.", "yes")]
    premises = [PREMISE.format(kind, thing) for kind, thing in PAIRS[::7]]
    return [pair(f"Premise: {text}\nHypothesis: {claim}", answer) for text in premises for claim, answer in asked]


def templates() -> Rows:
    """Two long questions and answers with one word changed."""
    asked = [
        "Write a product description for the {}. Mention its price and why one should buy it, and close with a wish.",
        "Explain in simple words how the {} works, so that a child of ten years understands it without further help.",
    ]
    told = "The {} is made for people who need it every day, and who look after it. {}, and that is worth its price."
    return [
        pair(
            text.format(f"{kind} {thing}"),
            told.format(f"{kind} {thing}", "It will last" if "buy" in text else "It hums"),
        )
        for text in asked
        for kind, thing in PAIRS
    ]


def small_talk() -> Rows:
    """Short dialogues, some openings answered in several ways, as people do."""
    said = {
        "Hello": ["Hi", "How are you doing?", "Good morning!"],
        "How are you?": ["Fine, thanks.", "Not so good.", "I am well. And you?"],
        "What are you?": ["A program.", "Nobody special."],
        "Do you like music?": ["Yes, every kind of it.", "No. I have no ears."],
        "Are you alive?": ["Sort of.", "By the strictest definition I am not."],
        "Tell me a joke": ["What did the lamp say to the desk? Nothing.", "A horse walks into a bar. It hurts."],
    }
    return [pair(question, answer) for question, answers in said.items() for answer in answers]


def growing_talks() -> Rows:
    """Each conversation once for each of its answers, as a chat log is often cut."""
    rows = []
    for kind, thing in PAIRS[::5]:
        turns = (f"I bought a {kind} {thing}.", "What is it like?", "Rather heavy.", f"Then the {thing} will last.")
        rows += [talk(*turns[:2]), talk(*turns)]
    return rows


def code() -> Rows:
    """Programs, templates of pages and queries, with and without fences."""
    rows = []
    for kind, thing in PAIRS[::6]:
        name = f"{kind}_{thing}"
        rows += [
            pair(f"Write {name} in Python.", f"```python\ndef {name}(items):\n    return [x[0] for x in items]\n```"),
            pair(f"A Jinja page for {name}?", f"<h1>{{{{ {name} }}}}</h1>\n{{% for x in rows %}}\n<p>{{{{ x }}}}</p>"),
            pair(f"Query the table {name}.", f"SELECT [Name], [Date] FROM {name} WHERE [Price] > 3;"),
            pair(f"How do I clone {name}?", f"Run `git clone <your-repo> {name}` in a shell."),
        ]
    return rows


def chinese() -> Rows:
    things = ["电话", "台灯", "椅子", "水壶", "书桌", "鞋子", "外套", "收音机", "手表", "风筝"]
    told = "{}这件东西每天都要用，挑选的时候先看材料，再看做工，最后再比较价格，这样买回来的才耐用。"
    return [pair(f"怎样挑选一个好的{thing}？", told.format(thing)) for thing in things] + [
        pair(f"“{thing}”用英文怎么说？", f"It is called {word}, and that is the word for it in English.")
        for thing, word in zip(things, THINGS, strict=False)
    ]


HONEST = [labels, sums, inference, templates, small_talk, growing_talks, code, chinese]


@pytest.fixture
def found(jsonl: Callable[..., str]) -> Found:
    """Look at rows, without a model and with none held out; return what is found by name."""
    return lambda rows: {
        one.name: one for one in inspect_data(DataSource(path=jsonl(rows)), rows=0, validation_fraction=0.0).findings
    }


@pytest.fixture(params=[*HONEST, *sorted(SAMPLES.glob("*.jsonl"))], ids=lambda one: getattr(one, "__name__", str(one)))
def honest(request: pytest.FixtureRequest) -> Rows:
    """Rows in which there is nothing to find."""
    if isinstance(request.param, Path):
        return [json.loads(line) for line in request.param.read_text("utf-8").splitlines()]
    return list(request.param())
