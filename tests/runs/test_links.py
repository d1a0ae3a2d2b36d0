"""Links in a run folder: nothing outside of it is written or removed, and little is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.errors import RunFolderError
from studio.runs import RunFolder, create_run, read_journal, read_label, release_lock, remove_litter, write_atomically
from studio.runs.files import remove

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")

DEAD = 2**22 + 1  # no process has such a number
PARTS = ["checkpoints", "adapter", "checkpoints/step-000001"]
FILES = ["state.json", "events.jsonl", "base.json", "label.json", "run.log", "adapter/adapter_model.safetensors"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = create_run(tmp_path / "runs", "x", "")
    release_lock(folder.path)
    for part in PARTS:
        (folder.path / part).mkdir(exist_ok=True)
    for file in (*FILES[1:], "checkpoints/step-000001/manifest.json"):
        (folder.path / file).write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user, with names that this program gives to its own files."""
    folder = tmp_path / "outside"
    for name in ("step-000001", f".merged.{DEAD}.partial", ".step-000002.tmp"):
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_text("{}", encoding="utf-8")
    for name in ("best.tmp", ".tmpAbC12", "adapter_model.safetensors", "state.json"):
        (folder / name).write_text('{"status": "finished"}', encoding="utf-8")
    return folder


def _put_link(place: Path, target: Path | str) -> None:
    remove(place)
    place.symlink_to(target)


def _content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("part", [*PARTS, *FILES])
@pytest.mark.parametrize("target", ["outside", "/etc", "/dev/zero", "/nowhere/at/all"])
def test_a_link_out_of_the_folder_is_refused(run: RunFolder, outside: Path, part: str, target: str) -> None:
    run.check_links()
    _put_link(run.path / part, outside if target == "outside" else target)
    with pytest.raises(RunFolderError, match=rf"{part} is a link that leads out of the run folder, to "):
        run.check_links()


def test_a_link_to_the_run_beside_is_refused(run: RunFolder) -> None:
    _put_link(run.checkpoints, create_run(run.path.parent, "other", "").path)
    with pytest.raises(RunFolderError, match="leads out"):
        run.check_links()


@pytest.mark.parametrize("part", ["checkpoints", "adapter", "exports", "checkpoints/step-000001"])
def test_a_link_to_itself_holds_nothing(run: RunFolder, part: str) -> None:
    _put_link(run.path / part, run.path / part)
    run.check_links()
    remove_litter(run.path.parent, run.path)
    assert (run.path / part).is_symlink()


def test_links_of_the_users_own_are_followed(run: RunFolder, outside: Path) -> None:
    """A run on a bigger disk, exports there, and a link from one part of the run to another."""
    there = outside / "run"
    run.path.rename(there)
    run.path.symlink_to(there)
    _put_link(run.path / "newest", run.checkpoint(1))
    _put_link(run.exports, outside)
    run.check_links()
    assert run.read_state()["status"] == "interrupted"
    assert run.list_checkpoints() == [run.checkpoint(1)]


@pytest.mark.parametrize("part", PARTS)
def test_checkpoints_that_lie_elsewhere_are_none_of_the_run(run: RunFolder, outside: Path, part: str) -> None:
    assert len(run.list_checkpoints()) == 1
    _put_link(run.path / part, outside if part != PARTS[-1] else outside / "step-000001")
    assert len(run.list_checkpoints()) == (part == "adapter")


def test_state_label_and_journal_are_not_read_elsewhere(run: RunFolder, outside: Path) -> None:
    for name in ("state.json", "label.json", "events.jsonl"):
        _put_link(run.path / name, outside / "state.json")
    with pytest.raises(RunFolderError, match="link that leads out of the run folder"):
        run.read_state()
    with pytest.raises(RunFolderError, match="link that leads out of the run folder"):
        read_label(run.path)
    with pytest.raises(RunFolderError, match="link that leads out of the run folder"):
        list(read_journal(run.journal))


@pytest.mark.parametrize("part", ["checkpoints", "adapter", "exports"])
def test_drafts_behind_a_link_are_not_removed(run: RunFolder, outside: Path, part: str) -> None:
    before = _content(outside)
    _put_link(run.path / part, outside)
    remove_litter(run.path.parent, run.path)
    assert _content(outside) == before


def test_a_text_is_not_written_through_a_link_in_the_place_of_its_draft(run: RunFolder, outside: Path) -> None:
    before = _content(outside)
    (run.path / f".state.json.{os.getpid()}.tmp").symlink_to(outside / "state.json")
    _put_link(run.state, outside / "state.json")
    write_atomically(run.state, json.dumps({"status": "failed"}))
    assert run.read_state()["status"] == "failed"
    assert _content(outside) == before


def test_a_run_is_removed_without_what_its_links_lead_to(run: RunFolder, outside: Path) -> None:
    before = _content(outside)
    _put_link(run.checkpoints, outside)
    linked = run.path.with_name("linked")
    linked.symlink_to(run.path)
    remove(linked)
    assert run.state.exists()
    remove(run.path)
    assert not run.path.exists()
    assert _content(outside) == before
