"""Answers that contradict each other, that are always the same, or that are in another language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Found = Callable[..., Any]
Rows = list[dict[str, Any]]

REFUSAL = "I am sorry, but as a language model I cannot help with that request today."
CHINESE = "这件东西每天都要用，挑选的时候先看材料，再看做工，最后比较价格。"
RUSSIAN = "Эта вещь нужна каждый день, поэтому сначала посмотрите на материал, а потом на цену."
GERMAN = "Das ist nicht die Art von Lampe, die man für den Garten braucht, und sie wird auch nicht mit Kabel verkauft."
ENGLISH = "This is not the kind of {} that you need for the garden, and it is not sold with a cable."


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def others(count: int = 30) -> Rows:
    return [pair(f"Which is row {number}?", f"This one, number {number} of all.") for number in range(count)]


def told(found: dict[str, Any]) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {name: (one.count, one.rows) for name, one in found.items()}


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        ("Is glass a liquid?", "Yes, it flows slowly.", "No. It is a solid."),
        ("What is the capital of Australia?", "Canberra.", "Sydney."),
        ("How many legs has a spider?", "A spider has 8 legs.", "A spider has 6 legs."),
        ("May one eat the berries?", "The berries are safe to eat.", "The berries are not safe to eat."),
        ("What is 3 + 4?", "7", "8"),
        ("澳大利亚的首都是哪里？", "堪培拉", "悉尼"),
        ("水在一百度沸腾吗？", "是的，标准气压下就是这样。", "不是，要看容器的颜色。"),
    ],
)
def test_answers_that_contradict_each_other_are_both_counted(question: str, one: str, other: str, found: Found) -> None:
    rows = [pair(question, one), *others(), pair(question.upper(), other), pair(question, one + " ")]
    assert told(found(rows))["contradictions"] == (3, (1, 32, 33))
    assert found(rows)["contradictions"].remedy.code == "drop_rows"


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        ("What is the capital of France?", "Paris.", "It is Paris."),
        ("What is LoRA?", "A method with few parameters.", "It learns a small change beside frozen weights."),
        ("Do you like tea?", "Yes, a lot.", "No, never."),
        ("How are you?", "Fine.", "Tired."),
        ("Name a colour.", "Red.", "Blue."),
        ("Give me a random number.", "4", "7"),
        ("你喜欢喝茶吗？", "是的，很喜欢。", "不，从来不喝。"),
    ],
)
def test_answers_that_may_both_be_right_are_not(question: str, one: str, other: str, found: Found) -> None:
    assert told(found([*others(), pair(question, one), pair(question, other)])) == {}


def test_texts_with_two_labels_are_counted(found: Found) -> None:
    rows = [pair(f"You are a judge. Review: thing {n} is so so", "good" if n % 2 else "bad") for n in range(20)]
    assert told(found(rows)) == {}
    assert told(found([*rows, pair(rows[4]["prompt"], "good")])) == {"contradictions": (2, (5, 21))}


def test_one_answer_to_many_questions_is_counted(found: Found) -> None:
    rows = [
        *others(),
        *(pair(f"How do I mend a {thing}?", REFUSAL) for thing in ("chair", "kettle", "lamp", "shoe", "desk")),
    ]
    assert told(found(rows)) == {"same_answers": (4, (32, 33, 34, 35))}


def test_one_answer_to_two_questions_and_long_labels_are_not(found: Found) -> None:
    twice = [pair(f"How do I mend a {thing}?", REFUSAL) for thing in ("chair", "kettle")]
    assert told(found([*others(), *twice])) == {}
    verbose = "The customer who wrote this review seems to be {} with it."
    assert told(found([pair(f"Review {n}", verbose.format("happy" if n % 3 else "cross")) for n in range(30)])) == {}


THINGS = [
    f"{kind} {thing}" for kind in ("old", "new", "red", "big") for thing in ("lamp", "pump", "rake", "hose", "bell")
]


@pytest.mark.parametrize("answer", [CHINESE, RUSSIAN, GERMAN])
def test_answers_in_another_language_are_counted(answer: str, found: Found) -> None:
    rows = [pair(f"Is the {thing} for the garden?", ENGLISH.format(thing)) for thing in THINGS]
    assert told(found([*rows, pair("And the chair?", answer)])) == {"language_mix": (1, (21,))}
    assert told(found([*rows, pair("And the chair? Answer in German, Russian or Chinese.", answer)])) == {}


def test_in_a_set_of_two_languages_the_answers_in_the_wrong_one_are_counted(found: Found) -> None:
    english = [pair(f"Is this the {thing} that you have for it?", ENGLISH.format(thing)) for thing in THINGS]
    chinese = [pair(f"第{number}种东西应该怎样挑选才最合适？", f"第{number}种：{CHINESE}") for number in range(20)]
    assert told(found([*english, *chinese])) == {}
    wrong = pair("怎样挑选一盏最合适的花园台灯？", ENGLISH.format("chair"))
    assert told(found([*english, *chinese, wrong])) == {"language_mix": (1, (41,))}
