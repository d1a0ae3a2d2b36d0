"""YAML files in the layout of the ChatterBot corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import DataSource, parse_config, write_config
from studio.engine.control import Control, no_progress
from studio.engine.data.formats import FORMATS
from studio.engine.data.inspect import inspect_data
from studio.engine.data.readers.open import read_rows
from studio.engine.data.report import Tally
from studio.engine.training.run import train
from studio.errors import DataError
from studio.events import EvaluationCompleted, RunFinished
from studio.runs import create_run
from tests import tiny


def rows(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    path = tmp_path / "rows.yml"
    path.write_text(text, encoding="utf-8")
    return [row.values for row in read_rows(DataSource(path=str(path)), Tally(), no_progress)]


def taught(values: dict[str, Any]) -> list[tuple[str, str]]:
    example = FORMATS.get("sharegpt").read(values, {"conversations": "conversations"})
    return [(message.role, message.content) for message in example.messages]


def test_conversations_are_questions_and_answers_in_turn(tmp_path: Path) -> None:
    text = (
        "categories:\n- test\nconversations:\n- - 你好吗?\n  - 很好。\n- - Is it on?\n  - yes\n  - Since when?\n  - 1_0\n"
        "- - Hi\n  - Hello\n  - Bye\n- - Two?\n  - - One\n    - !!python/name:os.system 2.50\n"
    )
    assert [taught(values) for values in rows(tmp_path, text)] == [
        [("user", "你好吗?"), ("assistant", "很好。")],
        [("user", "Is it on?"), ("assistant", "yes"), ("user", "Since when?"), ("assistant", "1_0")],
        [("user", "Hi"), ("assistant", "Hello")],
        [("user", "Two?"), ("assistant", "One")],
        [("user", "Two?"), ("assistant", "2.50")],
    ]


def test_other_keys_of_a_corpus_are_named_as_unused(tmp_path: Path) -> None:
    path = tmp_path / "rows.yml"
    path.write_text("categories:\n- test\nlicence: CC0\nconversations:\n- - a\n  - b\n", encoding="utf-8")
    found = inspect_data(DataSource(path=str(path)))
    assert (found.format, found.skipped, found.unused_columns) == ("sharegpt", 0, ("categories", "licence"))


def test_a_list_of_rows_is_read(tmp_path: Path) -> None:
    assert rows(tmp_path, "- question: a\n  answer: no\n") == [{"question": "a", "answer": "no"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conversations:\n- - a\n  - 'b\n", "line 4: not valid YAML at column 1"),
        ("a: &a [x, x]\nb: [*a, *a]\n", r"line 2: a YAML alias \(\*a\) is not read"),
        ("[" * 100 + "]" * 100, "line 1: lists are nested more than 64 deep"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        rows(tmp_path, text)


def test_english_and_chinese_files_train_and_are_evaluated(tmp_path: Path) -> None:
    english = "conversations:\n" + "".join(f"- - What is {n}?\n  - {n}\n" for n in range(12))
    chinese = "conversations:\n" + "".join(f"- - {n}是什么?\n  - 数{n}\n" for n in range(12))
    paths = [tmp_path / "english.yml", tmp_path / "chinese.yml"]
    for path, text in zip(paths, (english, chinese), strict=True):
        path.write_text(text, encoding="utf-8")
    config = parse_config(
        {
            "model": {"path": str(tiny.save_model(tmp_path / "model")), "kind": "chat"},
            "data": {"sources": [{"path": str(p)} for p in paths], "max_length": 64, "validation_fraction": 0.25},
            "method": {"name": "full"},
            "precision": {"name": "fp32"},
            "training": {"batch_size": 4, "max_steps": 2, "evaluate_every": 2, "device": "cpu"},
        }
    )
    events: list[Any] = []
    train(config, create_run(tmp_path / "runs", "run", write_config(config)), Control(), events.append)
    assert [event.status for event in events if isinstance(event, RunFinished)] == ["finished"]
    assert any(isinstance(event, EvaluationCompleted) for event in events)
