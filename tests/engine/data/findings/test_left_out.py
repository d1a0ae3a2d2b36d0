"""What a remedy leaves out is not trained on, and what leaks leaves the validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.errors import Cancelled, DataError

Rows = list[dict[str, Any]]
TWIN = (
    "The {} is kept in the long hall behind the kitchen, where nobody but the cook goes, and he goes there every day."
)


@pytest.fixture
def prepare(jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast) -> Callable[..., PreparedData]:
    """Prepare rows with options of `[data]`."""

    def run(rows: Rows, **options: Any) -> PreparedData:
        options = {"validation_fraction": 0.0} | options
        return prepare_data(DataConfig(sources=(DataSource(path=jsonl(rows)),), **options), tokenizer, "chat", 0)

    return run


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def others(count: int) -> Rows:
    return [pair(f"Which is row {number}?", f"This one, number {number} of all.") for number in range(count)]


def numbers(data: PreparedData) -> list[int]:
    return [row.number for row in data.train]


def test_without_a_remedy_every_row_is_trained_on_and_the_finding_is_told(prepare: Any) -> None:
    data = prepare([*others(5), *others(2)])
    assert numbers(data) == [1, 2, 3, 4, 5, 6, 7]
    assert [(one.name, one.count, one.rows) for one in data.findings] == [("duplicates", 2, (6, 7))]


def test_rows_that_are_left_out_are_counted_and_found_no_more(prepare: Any) -> None:
    rows = [*others(5), *others(2), pair("WHICH IS ROW 4?", "This one, number 4 of all!")]
    data = prepare(rows, leave_out=("duplicates", "near_duplicates"))
    assert (numbers(data), data.findings) == ([1, 2, 3, 4, 5], ())
    assert data.report.left_out == {"duplicates": 2, "near_duplicates": 1}
    told = [problem.text() for problem in data.report.problems]
    assert "Rows that are left out because of a finding (Repeated rows): 2." in told
    assert "Rows that are left out because of a finding (Nearly repeated rows): 1." in told


def test_leaving_every_row_out_is_refused(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.engine.data.findings import near_duplicates

    every = lambda survey: survey.traits["number"] > 0  # noqa: E731
    monkeypatch.setitem(vars(near_duplicates.FINDING), "which", every)
    with pytest.raises(DataError, match="Every domain row is left out"):
        prepare(others(3), leave_out=("near_duplicates",))


def twins(count: int) -> Rows:
    """Rows of which each has one that is nearly the same."""
    words = ["apple", "bread", "cider", "dough", "elder", "figs", "grapes", "honey", "icing", "juice"][:count]
    return [pair(f"Where is the {word}{mark}", TWIN.format(word)) for mark in ("?", "") for word in words]


def test_38_validation_rows_that_are_nearly_trained_on_are_counted(prepare: Any) -> None:
    data = prepare(twins(10), validation_fraction=0.25)
    held = {row.number for row in data.validation}
    leaked = sorted(number for number in held if (number + 9) % 20 + 1 not in held)
    (one,) = [one for one in data.findings if one.name == "leaked"]
    assert leaked
    assert (one.count, list(one.rows)) == (len(leaked), leaked)


def test_leaked_rows_move_to_training(prepare: Any) -> None:
    before = prepare(twins(10), validation_fraction=0.25)
    data = prepare(twins(10), validation_fraction=0.25, leave_out=("leaked",))
    assert "leaked" not in [one.name for one in data.findings]
    assert len(data.train) + len(data.validation) == 20
    assert {row.number for row in data.validation} < {row.number for row in before.validation}


def test_the_rows_of_one_long_text_do_not_repeat_each_other(
    jsonl: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    long = " ".join(f"word{number}" for number in range(400))
    source = DataSource(path=jsonl([{"text": long}, {"text": "short text"}, {"text": long}]))
    config = DataConfig(sources=(source,), max_length=64, validation_fraction=0.0)
    data = prepare_data(config, tokenizer, "base", 0)
    assert len(data.train) > 20
    assert [(one.name, one.count, one.rows) for one in data.findings] == [("duplicates", 1, (3,))]


def test_a_look_at_a_file_counts_what_will_leak(prepare: Any, jsonl: Callable[..., str]) -> None:
    look = inspect_data(DataSource(path=jsonl(twins(10))), validation_fraction=0.25, seed=0)
    found = {one.name: one.rows for one in look.findings}
    assert (
        found["leaked"]
        == {one.name: one.rows for one in prepare(twins(10), validation_fraction=0.25).findings}["leaked"]
    )


def test_comparing_the_rows_can_be_cancelled(jsonl: Callable[..., str]) -> None:
    def cancel(stage: str, *_: int) -> None:
        if stage == "comparing_rows":
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        inspect_data(DataSource(path=jsonl(others(3))), progress=cancel)
