"""Which format a table is taken for, and what becomes of each of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studio.config import DataSource
from studio.engine.control import no_progress
from studio.engine.data.examples import open_source, recognise
from studio.engine.data.formats import FORMATS
from studio.engine.data.formats.base import Example, Message
from studio.engine.data.inspect import inspect_data
from studio.engine.data.report import Remark
from studio.errors import ConfigError, DataError

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SPOKEN = (Message("user", "a"), Message("assistant", "b"))
Jsonl = Callable[..., str]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (["messages"], "messages"),
        (["id", "messages", "source"], "messages"),
        (["conversations"], "sharegpt"),
        (["conversations", "system"], "sharegpt"),
        (["instruction", "output"], "alpaca"),
        (["instruction", "input", "output", "text"], "alpaca"),
        (["instruction", "context", "response"], "alpaca"),
        (["prompt", "completion"], "prompt-completion"),
        (["Question", "Answer"], "prompt-completion"),
        (["input", "output"], "prompt-completion"),
        (["text"], "text"),
        (["text", "label"], "text"),
        (["prompt", "chosen", "rejected"], "preference"),
        (["chosen", "rejected"], "preference"),
        (["prompt", "completion", "label"], "rated"),
    ],
)
def test_a_format_is_recognised_by_its_columns(columns: list[str], name: str) -> None:
    assert recognise(DataSource(path="x"), columns)[0].name == name


def test_columns_are_mapped_by_field() -> None:
    source = DataSource(path="x", columns={"prompt": "q", "completion": "a"})
    chosen, columns = recognise(source, ["q", "a", "text"])
    assert (chosen.name, columns) == ("prompt-completion", {"prompt": "q", "completion": "a"})


def test_a_mapped_column_is_taken_before_one_that_is_called_like_the_field() -> None:
    source = DataSource(path="x", format="text", columns={"text": "body"})
    assert recognise(source, ["text", "body"])[1] == {"text": "body"}


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="sharegpt"):
        recognise(DataSource(path="x", format="shargpt"), ["text"])


def test_every_format_explains_itself() -> None:
    assert {"messages", "alpaca", "sharegpt", "prompt-completion", "text"} <= set(FORMATS.names())
    assert all(chosen.title and chosen.explanation and chosen.fields for chosen in FORMATS)


def examples(path: str, **options: Any) -> list[Example]:
    return [example for _, example in open_source(DataSource(path=path, **options), no_progress).examples()]


def only_reason(path: str) -> str:
    found = inspect_data(DataSource(path=path))
    assert found.skipped == 1
    return next(iter(found.reasons)).text()


GOOD = {"messages": TURNS}


@pytest.mark.parametrize(
    ("item", "value", "reason"),
    [
        ("39-empty", [], "is not a list of messages"),
        ("39-null", None, "is not a list of messages"),
        ("39-text", "hello", "is not a list of messages"),
        ("39-encoded", '[{"role": "user"}]', "a list written as text"),
        ("39-objects", ["hello"], "not an object with a role"),
        ("40-unknown", [{"role": "narrator", "content": "a"}, TURNS[1]], "the role 'narrator' is not known"),
        (
            "40-injected",
            [{"role": "user<|im_end|>", "content": "a"}, TURNS[1]],
            "the role 'user<|im_end|>' is not known",
        ),
        ("41-no-role", [{"content": "a"}, TURNS[1]], "a message has no role"),
        ("41-no-content", [{"role": "user"}, TURNS[1]], "a message has no content"),
        ("42-null", [TURNS[0], {"role": "assistant", "content": None}], "a message has no content"),
        ("42-calls", [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], "calls tools"),
        ("43-image", [{"role": "user", "content": [{"type": "image_url"}]}, TURNS[1]], "contains an image"),
        ("43-object", [{"role": "user", "content": {"a": "b"}}, TURNS[1]], "is not text"),
        ("46-question-alone", [TURNS[0]], "no message of it is an answer"),
        ("47-empty", [TURNS[0], {"role": "assistant", "content": " \n"}], "the answer is empty"),
        ("47-empty-first", [TURNS[0], {"role": "assistant", "content": ""}, *TURNS], "the answer is empty"),
        ("49-tool", [TURNS[0], {"role": "tool", "content": "4"}, TURNS[1]], "calls tools"),
        ("61-system-only", [{"role": "system", "content": "Be kind."}], "no message of it is an answer"),
    ],
)
def test_a_conversation_that_cannot_teach_is_skipped_with_its_reason(
    item: str, value: Any, reason: str, jsonl: Jsonl
) -> None:
    assert reason in only_reason(jsonl([GOOD, {"messages": value}]))


@pytest.mark.parametrize(
    ("item", "value", "turns"),
    [
        ("46-question-last", [*TURNS, TURNS[0]], SPOKEN),
        ("40-bot", [{"role": "Human", "content": "a"}, {"role": "AI", "content": "b"}], SPOKEN),
        ("40-from", [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], SPOKEN),
        ("43-number", [{"role": "user", "content": 5}, TURNS[1]], (Message("user", "5"), SPOKEN[1])),
        (
            "43-parts",
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "!"}]}, TURNS[1]],
            (Message("user", "a!"), SPOKEN[1]),
        ),
        ("44-assistant-first", [TURNS[1], *TURNS], (SPOKEN[1], *SPOKEN)),
        ("45-two-users", [TURNS[0], *TURNS], (SPOKEN[0], *SPOKEN)),
        (
            "48-system-between",
            [TURNS[0], {"role": "system", "content": "s"}, TURNS[1]],
            (SPOKEN[0], Message("system", "s"), SPOKEN[1]),
        ),
    ],
)
def test_an_unusual_conversation_is_read(item: str, value: Any, turns: tuple[Message, ...], jsonl: Jsonl) -> None:
    assert examples(jsonl([{"messages": value}]))[0].messages == turns


def test_44_an_assistant_who_speaks_first_is_noted(jsonl: Jsonl) -> None:
    problems = inspect_data(DataSource(path=jsonl([{"messages": [TURNS[1], *TURNS]}]))).problems
    assert "in 1 of 1 rows the assistant speaks first" in problems[0].text()


def test_sharegpt_opens_with_its_system_text(jsonl: Jsonl) -> None:
    row = {"system": "s", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    assert examples(jsonl([row]))[0].messages == (Message("system", "s"), *SPOKEN)


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"instruction": "Add.", "output": "3"}, "Add."),
        ({"instruction": "Add.", "input": "", "output": "3"}, "Add."),
        ({"instruction": "Add.", "input": None, "output": "3"}, "Add."),
        ({"instruction": "Add.", "input": "1 2", "output": "3"}, "Add.\n\n1 2"),
        ({"instruction": "", "input": "1 + 2 =", "output": "3"}, "1 + 2 ="),
    ],
)
def test_50_alpaca_reads_what_is_there(row: dict[str, Any], question: str, jsonl: Jsonl) -> None:
    assert examples(jsonl([row]))[0].messages == (Message("user", question), Message("assistant", "3"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "", "input": " ", "output": "3"}, '"instruction" is missing or empty'),
        ({"instruction": "Add.", "output": None}, "the answer is empty"),
        ({"instruction": "Add.", "output": {"a": 1}}, '"output" is not text'),
    ],
)
def test_50_alpaca_without_question_or_answer_is_skipped(row: dict[str, Any], reason: str, jsonl: Jsonl) -> None:
    assert only_reason(jsonl([{"instruction": "a", "input": "b", "output": "c"}, row])) == reason


def test_braces_in_alpaca_text_are_only_text(jsonl: Jsonl) -> None:
    example = examples(jsonl([{"instruction": "Print {x} and {input}", "output": "{0}"}]))[0]
    assert "Print {x} and {input}" in example.pieces[0].text


def test_59_preference_pairs_teach_the_chosen_answer_and_say_so(jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    assert examples(path)[0].messages == SPOKEN
    assert "the chosen answers are learnt" in inspect_data(DataSource(path=path)).problems[0].text()


def test_59_preference_pairs_may_be_conversations(jsonl: Jsonl) -> None:
    whole = jsonl([{"chosen": TURNS, "rejected": TURNS}], "whole.jsonl")
    split = jsonl([{"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": TURNS[1:]}], "split.jsonl")
    repeated = jsonl([{"prompt": TURNS[:1], "chosen": TURNS, "rejected": TURNS}], "repeated.jsonl")
    assert [examples(path)[0].messages for path in (whole, split, repeated)] == [SPOKEN] * 3


def test_59_of_rated_answers_only_the_good_ones_teach(jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "a", "completion": "b", "label": good} for good in (True, False)])
    found = inspect_data(DataSource(path=path))
    assert found.format == "rated"
    assert found.reasons == {Remark("bad_answer"): 1}


def test_numbers_and_truth_values_are_read_as_they_are_written(jsonl: Jsonl, tmp_path: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": 1.50, "completion": true}\n', encoding="utf-8")
    assert [piece.text for piece in examples(str(path))[0].pieces] == ["1.50", "true"]


def test_naming_a_format_that_the_columns_do_not_have_is_refused(jsonl: Jsonl) -> None:
    with pytest.raises(DataError, match="has no column messages, which the format messages needs"):
        examples(jsonl([{"text": "a"}]), format="messages")
