"""Faults that a single row has: each is counted exactly, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data.findings import Finding
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.xray import open_xray

Found = Callable[..., Any]
Rows = list[dict[str, Any]]


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def others(count: int = 30) -> Rows:
    return [pair(f"Which is row {number}?", f"This one, number {number} of all.") for number in range(count)]


def told(found: dict[str, Finding]) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {name: (one.count, one.rows) for name, one in found.items()}


PLACEHOLDERS = [
    "Dear {{name}}, thank you.",
    "Dear [NAME], thank you.",
    "Dear [Your Name], thank you.",
    "Meet me at <insert address here>.",
    "Call [phone number] at noon.",
    "[insert the date], Berlin",
    "尊敬的[姓名]，您好！",
    "请联系【填写电话】。",
]
NO_PLACEHOLDERS = [
    "See [1] and [the manual](name).",
    "Write `Hello {{ name }}` in the page.",
    "```\n<p>{{ title }}</p>\n```",
    "<p>{{ title }}</p>",
    "names[name] = date[time]",
    "[INFO] started, [WARN] stopped",
    "SELECT [Name] FROM people",
    "<name>Bob</name>",
    "The mask token is [MASK].",
]


def test_51_unfilled_placeholders_are_counted(found: Found) -> None:
    rows = [*others(), *(pair(f"Letter {number}?", text) for number, text in enumerate(PLACEHOLDERS))]
    assert told(found(rows)) == {"placeholders": (len(PLACEHOLDERS), tuple(range(31, 31 + len(PLACEHOLDERS))))}


@pytest.mark.parametrize("text", NO_PLACEHOLDERS)
def test_brackets_and_code_are_no_placeholders(text: str, found: Found) -> None:
    assert told(found([*others(), pair("What is this?", text)])) == {}


def test_a_placeholder_that_was_asked_for_is_none(found: Found) -> None:
    assert told(found([*others(), pair("Write a template of a letter.", "Dear [NAME], thank you.")])) == {}


def test_52_control_tokens_of_other_models_are_counted(found: Found) -> None:
    rows = [
        pair("<|im_start|>user\nWhy?<|im_end|>", "Because."),
        pair("Who?", "Nobody.</s>"),
        pair("[INST] When? [/INST]", "Now."),
        pair("How is it written?", "As `<|im_end|>`, which ends a turn."),
        pair("<s>[INST] Where? [/INST] Here. </s>", "There."),
    ]
    assert told(found([*others(), *rows])) == {"control_tokens": (4, (31, 32, 33, 35))}


def test_52_control_tokens_of_the_model_are_counted_and_left_out(
    jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    source = DataSource(path=jsonl([*others(), pair("What is `<|im_end|>`?", "A token.")]))
    look = inspect_data(source, tokenizer, "chat")
    assert told({one.name: one for one in look.findings}) == {"control_tokens": (1, (31,))}
    config = DataConfig(sources=(source,), leave_out=("control_tokens",))
    data = prepare_data(config, tokenizer, "chat", 0)
    assert len(data.train) + len(data.validation) == 30


def test_47_answers_that_are_empty_or_say_nothing_are_counted(found: Found) -> None:
    nothing = ["N/A", "...", "null", "[deleted]", "—", "No answer."]
    rows = [*others(), *(pair(f"Why {number}?", text) for number, text in enumerate(nothing))]
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]
    assert told(found(rows)) == {"empty_answers": (6, tuple(range(31, 37)))}
    talks = [
        {"messages": [{"role": "user", "content": f"Why {n}?"}, {"role": "assistant", "content": "So."}]}
        for n in range(3)
    ]
    assert told(found([*talks, {"messages": messages}])) == {"empty_answers": (1, (4,))}


def test_short_answers_say_something(found: Found) -> None:
    answers = ["0", "No", "+", "👍", "none", "否", "A"]
    assert told(found([pair(f"Which {number}?", text) for number, text in enumerate(answers)])) == {}


def test_56_rows_that_are_cut_are_counted_with_a_length_that_is_enough(
    jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    long = [pair(f"Tell {number}", f"word {number} " * 60) for number in range(4)]
    late = [pair(f"long {number} " * 60, "Yes.") for number in range(2)]
    source = DataSource(path=jsonl([*others(), *long, *late]))
    look = inspect_data(source, tokenizer, "chat", max_length=64)
    found = {one.name: one for one in look.findings}
    assert told(found) == {"truncated": (4, (31, 32, 33, 34)), "nothing_learned": (2, (35, 36))}
    config = DataConfig(sources=(source,), max_length=64)
    assert told({one.name: one for one in prepare_data(config, tokenizer, "chat", 0).findings}) == told(found)
    for one in found.values():
        assert one.remedy
        enough = inspect_data(source, tokenizer, "chat", max_length=one.remedy.apply(config).max_length)
        assert enough.findings == ()
    xray = open_xray(source, tokenizer, "chat", max_length=64)
    words = f"4 rows (16.7%) are longer than 64 tokens and lose their end, {xray.lost.sum()} tokens in all."
    assert found["truncated"].meaning().startswith(words)


def test_79_a_tokenizer_without_an_end_token_teaches_no_end(
    jsonl: Callable[..., str], make_tokenizer: Callable[..., PreTrainedTokenizerFast]
) -> None:
    source = DataSource(path=jsonl(others(5)))
    without = make_tokenizer(None, eos_token=None)
    assert told({one.name: one for one in inspect_data(source, without, "base").findings}) == {
        "end_not_learned": (5, (1, 2, 3, 4, 5))
    }


@pytest.mark.parametrize("kind", ["base", "chat"])
@pytest.mark.parametrize("train_on", ["completions", "all"])
def test_ends_are_learnt_in_each_way_to_learn(
    kind: Any, train_on: Any, jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    assert inspect_data(DataSource(path=jsonl(others(5))), tokenizer, kind, train_on).findings == ()


def test_nothing_is_found_in_honest_rows_with_a_model(
    honest: Rows, jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    look = inspect_data(DataSource(path=jsonl(honest)), tokenizer, "chat", max_length=100_000)
    assert told({one.name: one for one in look.findings}) == {}
