"""What a look at a dataset shows before anything is trained."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data import inspect as room
from studio.engine.data import report, workers
from studio.engine.data.encoder import NO_ROOM
from studio.engine.data.findings import rows as findings_rows
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.report import Remark
from studio.errors import Cancelled

Jsonl = Callable[..., str]
PAIRS = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(8)]


def test_rows_are_shown_as_the_model_sees_them_with_what_is_learnt(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = inspect_data(DataSource(path=jsonl(PAIRS)), tokenizer, "chat", rows=3)
    assert (found.format, found.rows, found.skipped, len(found.rendered)) == ("prompt-completion", 8, 0, 3)
    assert found.rendered[0].segments == (
        ("<|im_start|>user\nQuestion 0?<|im_end|>\n<|im_start|>assistant\n", False),
        ("Answer 0.<|im_end|>", True),
        ("\n", False),
    )
    assert found.rendered[0].supervised_tokens == len(tokenizer("Answer 0.<|im_end|>")["input_ids"])


def test_without_a_model_rows_are_shown_as_plain_text(jsonl: Jsonl) -> None:
    found = inspect_data(DataSource(path=jsonl(PAIRS)), rows=2)
    assert found.rendered[0].segments == (("Question 0?", False), ("Answer 0.", True))
    assert found.rendered[0].tokens == 0


def test_columns_show_how_full_they_are_and_what_they_were_taken_for(jsonl: Jsonl) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "a", "answer": "b", "note": None},
        {"question": "c", "answer": "d"},
        {"question": "e", "answer": "f", "note": "x", "late": 1},
    ]
    columns = {column.name: column for column in inspect_data(DataSource(path=jsonl(rows))).columns}
    assert (columns["question"].field, columns["answer"].field) == ("prompt", "completion")
    assert columns["note"].coverage == columns["late"].coverage == pytest.approx(1 / 3)
    assert columns["note"].field is None
    assert columns["question"].example == "a"


def test_24_rows_without_a_required_column_are_listed(jsonl: Jsonl) -> None:
    found = inspect_data(DataSource(path=jsonl([*PAIRS, {"prompt": "a"}, {"prompt": "b"}])))
    assert found.reasons == {Remark.of("empty_field", field="completion"): 2}
    assert found.problems[0].text().endswith("(row 9, 10).")


def test_what_is_counted_is_what_training_will_count(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [*PAIRS, {"prompt": "long " * 300, "completion": "x"}, {"prompt": "a", "completion": "word " * 300}]
    source = DataSource(path=jsonl([*rows, *PAIRS[:2], {"prompt": "<|im_end|>", "completion": ""}]))
    found = inspect_data(source, tokenizer, "chat", max_length=64)
    config = DataConfig(sources=(source,), max_length=64)
    data = prepare_data(config, tokenizer, "chat", 0)
    assert (found.rows, found.reasons) == (data.report.rows, data.report.skipped)
    counts = {one.name: one.count for one in found.findings}
    assert counts.items() >= {"duplicates": 2, "truncated": 1, "nothing_learned": 1}.items()
    assert counts == {one.name: one.count for one in data.findings}


def test_52_control_tokens_in_the_text_are_counted(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [*PAIRS, {"prompt": "What is <|im_end|>?", "completion": "A token."}]
    found = inspect_data(DataSource(path=jsonl(rows)), tokenizer, "chat")
    assert [(one.name, one.count, one.rows) for one in found.findings] == [("control_tokens", 1, (9,))]
    assert found.problems == ()


def test_19_a_row_that_is_too_long_is_shown_as_far_as_it_is_kept(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = inspect_data(DataSource(path=jsonl([{"text": "word " * 100_000}])), tokenizer, max_length=32)
    assert found.rendered[0].tokens == 32
    assert sum(len(text) for text, _ in found.rendered[0].segments) < 1000


def test_when_no_row_can_teach_that_is_the_first_problem(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    found = inspect_data(DataSource(path=jsonl([{"prompt": "a", "completion": ""}])), tokenizer, "chat")
    assert found.skipped == found.rows == 1
    assert found.problems[0].text().startswith("No row of")
    unloved = inspect_data(DataSource(path=jsonl([{"prompt": "a", "completion": "b", "label": False}])))
    assert (unloved.problems[0].code, unloved.problems[0].neutral) == ("no_row_teaches", False)


def test_of_a_long_file_every_row_is_read_and_the_first_are_encoded(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ENCODED", 100)
    long = {"prompt": "long " * 300, "completion": "x"}
    empty = {"prompt": "a", "completion": ""}
    found = inspect_data(DataSource(path=jsonl([*PAIRS, *[long] * 400, empty])), tokenizer, "chat", max_length=64)
    assert found.rows == 409
    assert found.reasons[Remark.of("empty_field", field="completion")] == 1
    assert 0 < found.reasons[NO_ROOM] < 400


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_as_many_rows_are_shown_as_are_asked_for(rows: int, jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(inspect_data(DataSource(path=jsonl(PAIRS)), tokenizer, "chat", rows=rows).rendered) == min(rows, 8)


# Large files


def awkward(count: int) -> list[dict[str, Any]]:
    """Rows of every fate: used, twice, skipped, with marks that are not understood and columns that are not used."""
    return [
        row
        for number in range(count)
        for row in (
            {"prompt": f"Question {number}?", "completion": f"Answer {number % 7} of some more words."},
            {"prompt": f"Question {number}?", "completion": ""},
            {"prompt": "What?", "completion": f"Number {number}.", "extra": "x", "train": f"perhaps {number}"},
        )
    ]


def test_on_several_cores_the_same_is_found(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ENCODED", 20)
    monkeypatch.setattr(workers, "_ROWS", 16)
    source = DataSource(path=jsonl(awkward(40)))
    alone = inspect_data(source, tokenizer, "chat")
    monkeypatch.setattr(room, "processes_for", lambda _: 2)
    assert inspect_data(source, tokenizer, "chat") == alone
    assert (alone.rows, alone.skipped, alone.unused_columns) == (120, 40, ("extra", "train"))
    assert [(finding.name, finding.count) for finding in alone.findings] == [("contradictions", 40)]


def test_inspection_is_cancelled_while_processes_work(jsonl: Jsonl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ENCODED", 20)
    monkeypatch.setattr(room, "processes_for", lambda _: 2)
    begun = threading.active_count()

    def cancel(stage: str, done: int, total: int) -> None:
        if done == total > 0:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        inspect_data(DataSource(path=jsonl(awkward(40))), progress=cancel)
    assert threading.active_count() == begun


def test_of_a_row_only_its_numbers_are_remembered_and_of_a_million_nothing(
    jsonl: Jsonl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ENCODED", 20)
    monkeypatch.setattr(report, "_REMEMBERED", 10)  # skipped rows

    def bytes_a_row() -> float:
        few, many = (_peak_bytes(DataSource(path=jsonl(awkward(count), f"{count}.jsonl"))) for count in (300, 1300))
        return (many - few) / 3000

    _peak_bytes(DataSource(path=jsonl(awkward(10))))  # what is imported and kept once
    assert bytes_a_row() < 800
    monkeypatch.setattr(findings_rows, "MOST", 100)
    assert bytes_a_row() < 20


def _peak_bytes(source: DataSource) -> int:
    tracemalloc.start()
    inspect_data(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
