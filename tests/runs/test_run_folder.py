"""The run folder and its journal survive what happens to them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from studio.errors import RunFolderError
from studio.events import DataPrepared, EvaluationCompleted, RunFailed, RunStarted, StepCompleted, from_json, to_json
from studio.runs import Journal, create_run, list_runs, open_run, read_journal, write_atomically


def _step(**changes: object) -> StepCompleted:
    values = {
        "step": 3,
        "update": 2,
        "epoch": 0.5,
        "loss": 1.5,
        "learning_rate": 1e-4,
        "grad_norm": 0.7,
        "grad_scale": 65536.0,
        "skipped": False,
        "tokens": 100,
        "supervised_tokens": 60,
        "micro_batches": 2,
        "seconds": 0.25,
    }
    return StepCompleted(**(values | changes))  # type: ignore[arg-type]


def test_an_event_reads_back_equal() -> None:
    event = _step(grad_scale=None)
    assert from_json(to_json(event)) == event


def test_type_and_time_come_first_and_non_finite_numbers_are_spelled() -> None:
    line = to_json(_step(loss=math.nan, grad_norm=math.inf, grad_scale=-math.inf))
    values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(values)[:2] == ["type", "time"]
    assert (values["loss"], values["grad_norm"], values["grad_scale"]) == ("nan", "inf", "-inf")
    back = from_json(line)
    assert isinstance(back, StepCompleted)
    assert math.isnan(back.loss)
    assert back.grad_norm == math.inf


def test_an_event_of_a_later_version_with_more_keys_is_read() -> None:
    values = json.loads(to_json(RunFailed(step=1, sentence="No.")))
    assert isinstance(from_json(json.dumps(values | {"colour": "red"})), RunFailed)


def test_the_beginning_of_a_run_of_an_earlier_version_is_read() -> None:
    """It had a sentence, in the language of its session, where there are codes now."""
    event = RunStarted(run="r", model="m", kind="chat", method="lora", precision="fp32", device="cpu", versions={})
    values = json.loads(to_json(event))
    del values["precision_because"], values["frozen_dtype"]
    assert from_json(json.dumps(values | {"precision_reason": "Chosen by you."})) == event


@pytest.mark.parametrize("line", ["", "{", "[]", '{"type": "unheard_of"}', '{"type": "run_failed", "time": 1}'])
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        from_json(line)


def test_a_journal_cut_short_by_a_crash_gives_all_complete_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal:
        for step in range(5):
            journal.append(_step(step=step))
    path.write_bytes(path.read_bytes()[:-20])
    assert [event.step for event in read_journal(path) if isinstance(event, StepCompleted)] == [0, 1, 2, 3]


def test_a_journal_is_readable_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal:
        journal.append(EvaluationCompleted(step=0, update=0, loss=2.0, rows=1, supervised_tokens=9, seconds=0.1))
        assert len(list(read_journal(path))) == 1


def test_runs_of_the_same_second_get_their_own_folders(tmp_path: Path) -> None:
    folders = [create_run(tmp_path, "My Model/LoRA ../x", "") for _ in range(3)]
    assert len({folder.path for folder in folders}) == 3
    assert all(folder.path.parent == tmp_path for folder in folders)
    assert [run.path for run in list_runs(tmp_path)] == sorted((f.path for f in folders), reverse=True)


def test_runs_are_listed_by_when_they_were_made_whatever_they_are_called(tmp_path: Path) -> None:
    first, last = create_run(tmp_path, "x", ""), create_run(tmp_path, "x", "")
    renamed = first.path.rename(tmp_path / "zzz")
    (damaged := tmp_path / "damaged").mkdir()
    (damaged / "state.json").write_text("{")
    os.utime(damaged / "state.json", (1.0, 1.0))
    assert [run.path for run in list_runs(tmp_path)] == [last.path, renamed, damaged]


@pytest.mark.parametrize("call", ["rename", "mkdir"])
def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fail)
        with pytest.raises(RunFolderError, match="No space"):
            create_run(tmp_path, "x", "")
    assert list(tmp_path.iterdir()) == []


def test_state_is_replaced_and_keeps_what_was_said_before(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "x", "a = 1\n")
    assert folder.read_state()["status"] == "created"
    folder.write_state("running", method="lora")
    folder.write_state("finished", updates=3)
    state = open_run(folder.path).read_state()
    assert (state["status"], state["method"], state["updates"]) == ("finished", "lora", 3)
    assert folder.config.read_text() == "a = 1\n"
    assert sorted(p.name for p in folder.path.iterdir()) == ["config.toml", "lock", "state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "dancing"}'])
def test_a_damaged_state_is_one_sentence(tmp_path: Path, text: str) -> None:
    folder = create_run(tmp_path, "x", "")
    folder.state.write_text(text)
    with pytest.raises(RunFolderError):
        open_run(folder.path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="No run folder can be written"):
        create_run(tmp_path / "file", "x", "")


def test_a_reader_that_has_the_old_file_open_reads_the_old_text_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old text\n" * 1000)
    with path.open(encoding="utf-8") as reader:
        begun = reader.read(4)
        write_atomically(path, "new")
        assert begun + reader.read() == "old text\n" * 1000
    assert path.read_text() == "new"


def test_text_that_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new, and then half of a pair: \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_last_moment_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_on_the_disk_before_its_file_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss the new name would else point to a file without its text."""
    path, synced = tmp_path / "state.json", []
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, path.read_text())))
    write_atomically(path, "newer")
    (of_text, of_folder) = synced
    assert of_text == (len("newer"), "old")
    assert of_folder[1] == "newer"  # the new name is on the disk, too


@pytest.mark.parametrize(
    "skipped",
    [[{"code": "empty_field", "values": {"field": "output"}, "count": 2}], {"the answer is empty": 2}],
    ids=["codes", "sentences of earlier versions"],
)
def test_data_prepared_keeps_the_reasons(skipped: Any) -> None:
    event = DataPrepared(
        train_rows=1,
        validation_rows=0,
        general_rows=0,
        skipped_rows=2,
        skipped=skipped,
        tokens=3,
        supervised_tokens=2,
        longest=3,
        planned_updates=1,
    )
    assert from_json(to_json(event)) == event
