"""A run whose folder has links to somewhere else is not gone on with, and not exported; what they lead to stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from studio.engine.control import no_progress
from studio.engine.export.run import export_run
from studio.engine.training import checkpoint
from studio.engine.training.result import restore_result, under_way
from studio.errors import ExportError, NotResumed, RunFolderError
from studio.events import CheckpointFailed, RunFinished
from studio.runs import RunFolder
from tests.engine.training.trained import Trained, checkpoint_every_update

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"), {"training": {"max_steps": 4}}).go()


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(trained.folder.path, tmp_path / "runs" / trained.folder.name)))


def _move_out(run: RunFolder, part: str, outside: Path) -> dict[str, int]:
    """Put a part of a run elsewhere and a link in its place; return what there is then."""
    shutil.move(run.path / part, outside / part)
    (run.path / part).symlink_to(outside / part)
    return _times(outside)


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("part", ["checkpoints", "adapter", "config.toml", "base.json"])
def test_it_is_neither_gone_on_with_nor_exported(trained: Trained, run: RunFolder, tmp_path: Path, part: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = _move_out(run, part, outside)
    words = f"{part} is a link that leads out of the run folder"
    trained_here = Trained.__new__(Trained)
    vars(trained_here).update(vars(trained) | {"folder": run, "events": []})
    with pytest.raises(NotResumed, match=words):
        trained_here.resume("training.max_steps=6")
    with pytest.raises(RunFolderError, match=words):
        export_run(run, "adapter")
    with pytest.raises(RunFolderError, match=words):
        restore_result(run, no_progress)
    with pytest.raises(RunFolderError, match=words), under_way(run, no_progress):
        pass
    assert _times(outside) == before


def test_an_export_is_not_made_behind_a_link(run: RunFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    run.exports.symlink_to(outside)
    with pytest.raises(ExportError, match=r"exports: it is a link that leads out of the run folder\."):
        export_run(run, "adapter")
    assert not list(outside.iterdir())
    assert export_run(run, "adapter", out=run.exports / "mine").passed  # the user says where


def test_no_checkpoint_is_saved_or_removed_behind_a_link_that_is_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    for name in ("step-000001", ".step-000004.tmp"):
        (outside / name).mkdir(parents=True)
        (outside / name / "precious").touch()
    before = _times(outside)
    checkpoint_every_update(monkeypatch)
    done = Trained(tmp_path, {"training": {"max_steps": 4}, "checkpoints": {"keep": 1}})
    done.folder.checkpoints.symlink_to(outside)
    done.folder.adapter.symlink_to(outside)
    done.go()
    assert done.of(CheckpointFailed)
    assert done.of(RunFinished)
    assert done.weights
    assert not done.folder.adapter.is_symlink()
    assert _times(outside) == before


def test_a_link_in_the_place_of_an_old_checkpoint_is_removed_and_not_what_it_leads_to(
    trained: Trained, run: RunFolder, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    newest, *_ = run.list_checkpoints()
    shutil.copytree(newest, outside)
    before = _times(outside)
    snapshot = checkpoint.read(newest)
    for name in ("step-000001", "step-000002", ".step-000005.tmp", "step-000005"):
        (run.checkpoints / name).symlink_to(outside)
    checkpoint.write(snapshot, run.checkpoint(5), keep=1)
    assert checkpoint.read(run.checkpoint(5)).position == snapshot.position
    assert not [path for path in run.checkpoints.iterdir() if path.is_symlink()]
    assert _times(outside) == before
