"""What a killed process leaves behind is removed by the next one, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest

from studio.runs import (
    RunFolder,
    create_run,
    draft_name,
    holder_of,
    list_runs,
    release_lock,
    remove_drafts,
    remove_litter,
)
from studio.runs.litter import EXPORT_SECONDS, UNBORN_SECONDS

DEAD, ALIVE = 2**22 + 1, os.getpid()  # no process has such a number


def litter(run: RunFolder, process: int) -> list[Path]:
    """Make every draft that this program makes in a run folder."""
    folders = [
        run.path / f".adapter.{process}.partial",
        run.path / f".adapter.{process}.old",
        run.checkpoints / ".step-000050.tmp",
        run.exports / f".merged-fp16.{process}.partial",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
        _make_old(folder, EXPORT_SECONDS)
    run.adapter.mkdir()
    files = [
        run.path / f".state.json.{process}.tmp",
        run.path / f".base.json.{process}.tmp",
        run.checkpoints / ".step-000050.best.tmp",
        run.checkpoints / "best.tmp",
        run.adapter / ".tmpAbC12",
    ]
    for file in files:
        file.write_text("half")
    return [*folders, *files]


def keep(run: RunFolder) -> list[Path]:
    """Make files that look a little like drafts, and are the user's own."""
    files = [run.path / name for name in (".notes.tmp", "state.json.5.tmp", ".a.5.bak", ".5.tmp")]
    files += [run.exports / ".cache", run.checkpoints / "step-000040" / ".tmp", run.adapter / "notes.tmp"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    return files


def _make_old(path: Path, seconds: float) -> None:
    then = time.time() - seconds - 60
    os.utime(path, (then, then))


def test_drafts_of_a_process_that_is_gone_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run, own = create_run(tmp_path, "x", ""), create_run(tmp_path, "own", "")
    release_lock(run.path)
    drafts, mine = litter(run, DEAD), keep(run)
    remove_litter(tmp_path, own.path)
    assert not [path for path in drafts if path.exists()]
    assert all(file.read_text() == "mine" for file in mine)
    assert list_runs(tmp_path) == [own, run] or {r.name for r in list_runs(tmp_path)} == {own.name, run.name}


def test_a_run_that_goes_on_loses_the_drafts_of_its_last_process(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x", "")
    drafts = litter(run, DEAD)
    remove_litter(tmp_path, run.path)
    assert not [path for path in drafts if path.exists()]


def test_drafts_of_a_process_that_lives_stay(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x", "")  # this process holds it
    drafts = litter(run, ALIVE)
    remove_litter(tmp_path, tmp_path / "another")
    assert all(path.exists() for path in drafts)


def test_drafts_of_another_computer_stay(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x", "")
    elsewhere = dataclasses.replace(holder_of(DEAD), host="another")
    (run.path / "lock").write_text(json.dumps(dataclasses.asdict(elsewhere)))
    drafts = litter(run, DEAD)
    remove_litter(tmp_path, tmp_path / "own")
    assert all(path.exists() for path in drafts)


def test_an_export_may_be_written_by_another_computer_for_a_while(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x", "")
    draft = run.exports / f".merged.{DEAD}.partial"
    draft.mkdir(parents=True)
    remove_litter(tmp_path, run.path)
    assert draft.exists()


def test_a_draft_that_names_this_computer_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(tmp_path, "x", "")
    alive = run.exports / draft_name("merged-fp16", "partial")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: DEAD)
        dead = run.exports / draft_name("merged-fp16", "partial")
    for folder in (alive, dead):
        folder.mkdir(parents=True)
    remove_drafts(run.exports)
    assert list(run.exports.iterdir()) == [alive]


def test_what_was_only_moved_aside_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(tmp_path, "x", "")
    monkeypatch.setattr(os, "getpid", lambda: DEAD)
    asides = [run.path / f".adapter.{DEAD}.old", run.exports / draft_name("v1.5", "old")]
    for aside in asides:
        aside.mkdir(parents=True)
        (aside / "model.safetensors").write_bytes(b"whole")
    monkeypatch.undo()
    remove_litter(tmp_path, run.path)
    assert not [aside for aside in asides if aside.exists()]
    for place in (run.adapter, run.exports / "v1.5"):
        assert (place / "model.safetensors").read_bytes() == b"whole"


@pytest.mark.parametrize("inside", [[], ["config.toml"], ["config.toml", "lock", f".state.json.{DEAD}.tmp"]])
def test_a_run_folder_that_never_came_to_a_state_is_removed(tmp_path: Path, inside: list[str]) -> None:
    folder = tmp_path / "20260101-000000-x"
    folder.mkdir()
    for name in inside:
        (folder / name).touch()
    remove_litter(tmp_path, tmp_path / "own")
    assert folder.exists()  # it may be on its way
    _make_old(folder, UNBORN_SECONDS)
    remove_litter(tmp_path, tmp_path / "own")
    assert not folder.exists()


@pytest.mark.parametrize(("name", "inside"), [("20260101-000000-x", "thesis.tex"), ("my-runs", "config.toml")])
def test_a_folder_of_the_user_stays(tmp_path: Path, name: str, inside: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / inside).touch()
    _make_old(tmp_path / name, UNBORN_SECONDS)
    remove_litter(tmp_path, tmp_path / "own")
    assert (tmp_path / name / inside).exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    run = create_run(tmp_path / "runs", "x", "")
    (run.path / f".adapter.{DEAD}.partial").symlink_to(outside)
    (tmp_path / "runs" / f".x.{DEAD}.partial").symlink_to(outside)
    remove_litter(tmp_path / "runs", run.path)
    assert (outside / "file").exists()
