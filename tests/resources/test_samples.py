"""The shipped sample datasets are sound: a user's first run must not fail, or teach nonsense, because of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.paths import resource

# Fewest and most rows of each file.
ROWS = {
    "fine-tuning-en.jsonl": (150, 160),
    "fine-tuning-zh.jsonl": (150, 160),
    "general-en.jsonl": (55, 65),
    "general-zh.jsonl": (35, 45),
}
LONGEST_ANSWER = 300
LONGEST_SHARED_RUN = 12

# A Chinese character counts as a word.
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")

Messages = list[dict[str, str]]


def read(name: str) -> list[Messages]:
    lines = resource("samples", name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def said_by(role: str, name: str) -> Iterator[str]:
    return (message["content"] for row in read(name) for message in row if message["role"] == role)


def all_said_by(role: str) -> list[str]:
    return [text for name in ROWS for text in said_by(role, name)]


@pytest.fixture(params=ROWS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_file_has_the_promised_number_of_rows(name: str) -> None:
    fewest, most = ROWS[name]
    assert fewest <= len(read(name)) <= most


def test_the_readme_states_the_true_number_of_rows(name: str) -> None:
    readme = resource("samples", "README.md").read_text(encoding="utf-8")
    (line,) = (line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
    assert f"| {len(read(name))} |" in line


def test_no_sample_file_is_left_untested() -> None:
    files: Iterator[Path] = resource("samples").glob("*.jsonl")
    assert {file.name for file in files} == set(ROWS)


def test_user_and_assistant_take_turns_after_an_optional_system_message(name: str) -> None:
    for row in read(name):
        roles = [message["role"] for message in row]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns
        assert turns == ["user", "assistant"] * (len(turns) // 2), row


def test_a_row_holds_roles_and_contents_and_nothing_else(name: str) -> None:
    assert all(message.keys() == {"role", "content"} for row in read(name) for message in row)


def test_every_message_says_something_and_can_be_encoded(name: str) -> None:
    for row in read(name):
        for message in row:
            assert message["content"].strip()
            assert message["content"] == message["content"].strip()
            message["content"].encode()  # a lone surrogate raises here


def test_some_conversations_have_several_turns_and_some_a_system_message(name: str) -> None:
    rows = read(name)
    assert any(len(row) > 3 for row in rows)
    assert any(row[0]["role"] == "system" for row in rows)


def test_answers_stay_short(name: str) -> None:
    assert max(len(words(answer)) for answer in said_by("assistant", name)) < LONGEST_ANSWER


def test_no_question_is_asked_twice() -> None:
    questions = [" ".join(words(question)) for question in all_said_by("user")]
    assert sorted(questions) == sorted(set(questions))


def test_no_two_answers_share_a_long_run_of_words() -> None:
    first: dict[tuple[str, ...], str] = {}
    for answer in all_said_by("assistant"):
        said = words(answer)
        for start in range(len(said) - LONGEST_SHARED_RUN + 1):
            run = tuple(said[start : start + LONGEST_SHARED_RUN])
            assert first.setdefault(run, answer) == answer, f"{run}: {answer} / {first[run]}"
