"""A list of runs reads only the folders in which something has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.runs import RunFolder, RunLabel, create_run, release_lock, take_lock, write_label
from studio.ui.models.run_summary import RunSummary, read_summary


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that came to its end long ago."""
    folder = create_run(tmp_path, "long-ago", "[model]\n")
    folder.write_state("stopped", updates=3)
    release_lock(folder.path)
    for path in (folder.path, *folder.path.rglob("*")):
        os.utime(path, (1e9, 1e9))
    return folder


def test_a_folder_in_which_nothing_changed_is_not_read_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_summary(folder)
    monkeypatch.setattr(RunFolder, "read_state", lambda _folder: pytest.fail("it is read again"))
    assert read_summary(RunFolder(folder.path)) is first


def finish(folder: RunFolder) -> None:
    folder.write_state("finished", updates=4)


def describe(folder: RunFolder) -> None:
    write_label(folder.path, RunLabel(name="The good one"))


def save(folder: RunFolder) -> None:
    folder.adapter.mkdir()
    (folder.adapter / "adapter_model.safetensors").touch()


def save_checkpoint(folder: RunFolder) -> None:
    folder.checkpoint(3).mkdir(parents=True)
    (folder.checkpoint(3) / "manifest.json").touch()


def configure(folder: RunFolder) -> None:
    folder.config.write_text('[model]\npath = "other"\n')


def damage(folder: RunFolder) -> None:
    folder.state.write_text("{")


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        (finish, lambda run: (run.status, run.updates) == ("finished", 4)),
        (describe, lambda run: run.label.name == "The good one"),
        (save, lambda run: run.learnt),
        (save_checkpoint, lambda run: run.learnt),
        (configure, lambda run: "other" in run.configuration),
        (damage, lambda run: run.status == "damaged"),
    ],
    ids=lambda one: one.__name__,
)
def test_whatever_changes_in_a_folder_is_seen(
    folder: RunFolder, change: Callable[[RunFolder], None], is_seen: Callable[[RunSummary], bool]
) -> None:
    assert not is_seen(read_summary(folder))
    change(folder)
    assert is_seen(read_summary(folder))


def test_of_a_run_that_is_held_its_holder_is_asked_each_time(folder: RunFolder) -> None:
    folder.write_state("running")
    assert read_summary(folder).status == "interrupted"
    take_lock(folder.path)
    assert read_summary(folder).status == "running"


def test_what_was_written_a_moment_ago_is_read_again(folder: RunFolder) -> None:
    """The clock of a disk may stand still between two writings of the same length."""
    configure(folder)
    written = folder.config.stat()
    assert "other" in read_summary(folder).configuration
    folder.config.write_text('[model]\npath = "third"\n')
    os.utime(folder.config, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert "third" in read_summary(folder).configuration
