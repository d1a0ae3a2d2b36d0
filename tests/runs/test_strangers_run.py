"""A run folder from a stranger is read, or refused in one sentence; nothing else comes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from studio.errors import RunFolderError
from studio.events import RunStarted, to_json
from studio.files import is_file, read_bytes, read_json
from studio.runs import RunFolder, create_run, read_journal

GOOD = {"status": "finished", "format": 1, "created": 1.7e9, "updates": 12, "method": "lora"}


def _run(root: Path, state: str) -> RunFolder:
    folder = create_run(root, "one", "")
    folder.state.write_text(state, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("created", 1e300),
        ("created", -1.0),
        ("created", "yesterday"),
        ("updates", 10**40),
        ("updates", -1),
        ("updates", [12]),
        ("seconds", "long"),
        ("model", "m"),
        ("model", {"name": 3}),
        ("method", {"name": "lora"}),
        ("precision", ["fp32"]),
        ("error", 5),
        ("validation_loss", {"first": "high"}),
        ("validation_loss", [1, 2]),
        ("retention", {"retention": {}}),
        ("status", "glorious"),
        ("status", ["running"]),
        ("method", "x" * (1 << 20)),
    ],
)
def test_a_state_with_a_wrong_value_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    folder = _run(tmp_path, json.dumps(GOOD))
    assert folder.read_state() == GOOD
    folder.state.write_text(json.dumps(GOOD | {key: value}), encoding="utf-8")
    with pytest.raises(RunFolderError):
        folder.read_state()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"status": "finished", "extra": ' + "[" * 200 + "]" * 200 + "}",
        '{"status": "failed", "status": "finished"}',
        '{"status": "finished", "updates": 1e999}',
        '{"status": "finished", "updates": ' + "9" * 5000 + "}",
        '{"status": "finished", "method": "\\ud800"}',
        "null",
        "",
        "\xff",
    ],
    ids=lambda text: text[:40],
)
def test_a_state_that_is_not_such_a_file_is_refused(tmp_path: Path, text: str) -> None:
    folder = _run(tmp_path, "")
    folder.state.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFolderError):
        folder.read_state()


def test_losses_that_are_not_finite_are_no_damage(tmp_path: Path) -> None:
    folder = _run(tmp_path, json.dumps(GOOD | {"validation_loss": {"first": 2.0, "last": float("nan")}}))
    assert folder.read_state()["updates"] == 12


@pytest.mark.parametrize("name", ["state.json", "events.jsonl"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop"])
def test_what_is_no_file_is_neither_waited_for_nor_read_for_ever(tmp_path: Path, name: str, kind: str) -> None:
    folder = _run(tmp_path, json.dumps(GOOD))
    place = folder.path / name
    place.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()
        case "loop":
            place.symlink_to(place)
    assert not is_file(place)
    with pytest.raises(RunFolderError):
        folder.read_state() if name == "state.json" else list(read_journal(folder.journal))


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "n" * 5000])
def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path: Path, name: str) -> None:
    assert not is_file(tmp_path / name)
    with pytest.raises(OSError):  # noqa: PT011  the sentence is made of its strerror
        read_bytes(tmp_path / name)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "long.json"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(OSError, match="too long"):
        read_json(file, 1000)


def _started(**changes: Any) -> str:
    event = RunStarted(run="r", model="m", kind="chat", method="lora", precision="fp32", device="cpu", versions={})
    return json.dumps(json.loads(to_json(event)) | changes)


def test_lines_of_a_journal_that_are_no_events_hide_no_other_line(tmp_path: Path) -> None:
    strange = [
        _started(time=1e300),
        _started(model=["m"]),
        _started(versions={"torch": 2}),
        _started(precision_because="none"),
        '{"type": ["run_started"]}',
        '{"type": "prompts_answered", "step": 1, "update": 1, "answers": [{"prompt": "p"}]}',
        '{"type": "run_paused", "step": 1e999}',
        "[" * 100_000,
        "\0",
    ]
    journal = tmp_path / "events.jsonl"
    journal.write_text("\n".join([*strange, _started(), *strange]), encoding="utf-8")
    assert [event.type for event in read_journal(journal)] == ["run_started"]


def test_a_line_without_an_end_is_read_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.runs.journal.MAX_LINE_BYTES", 1000)
    journal = tmp_path / "events.jsonl"
    journal.write_text("x" * 5_000 + _started() + "\n" + _started() + "\n", encoding="utf-8")
    assert [event.type for event in read_journal(journal)] == ["run_started"]


@pytest.mark.skipif(os.name == "nt", reason="holes in files")
def test_a_journal_with_a_hole_of_a_million_million_bytes_ends_there(tmp_path: Path) -> None:
    journal = tmp_path / "events.jsonl"
    journal.write_text(_started() + "\n", encoding="utf-8")
    os.truncate(journal, 1 << 40)
    assert [event.type for event in read_journal(journal)] == ["run_started"]


def test_a_run_that_is_damaged_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from studio.cli import main

    _run(tmp_path, json.dumps(GOOD | {"created": 1e300}))
    good = create_run(tmp_path, "two", "")
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert good.name in shown.out
    assert "damaged" in shown.out + shown.err
