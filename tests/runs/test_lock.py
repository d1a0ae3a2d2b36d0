"""The lock of a run: a dead run is known as one, and a live one is not started twice."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import RunFolderError
from studio.runner.record import RunRecord
from studio.runs import RunFolder, create_run, holder_of, read_lock, release_lock, take_lock
from studio.runs.folder import RESTART_SECONDS

ME = os.getpid()
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files or signals")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = create_run(tmp_path, "x", "")
    run.write_state("running")
    return run


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is alive until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_a_new_run_is_held_by_the_process_that_made_it(folder: RunFolder) -> None:
    assert read_lock(folder.path) == holder_of(ME)
    assert folder.read_state()["status"] == "running"
    take_lock(folder.path)  # this process may begin what it made


def test_a_run_that_no_process_trains_was_interrupted(folder: RunFolder) -> None:
    release_lock(folder.path)
    assert folder.read_state()["status"] == "interrupted"
    folder.write_state("finished")
    assert folder.read_state()["status"] == "finished"


@posix
def test_a_killed_process_is_gone_at_once_and_its_run_can_be_taken_over(
    folder: RunFolder, other: subprocess.Popen[bytes]
) -> None:
    take_lock(folder.path, holder_of(other.pid))
    assert folder.read_state()["status"] == "running"
    with pytest.raises(RunFolderError, match=f"number {other.pid}"):
        take_lock(folder.path)
    release_lock(folder.path)  # of another process: it stays
    assert folder.held
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # its exit status is left: nobody has asked for it
    assert folder.read_state()["status"] == "interrupted"
    take_lock(folder.path)
    assert folder.read_state()["status"] == "running"


def test_another_process_with_the_same_number_is_another_process(folder: RunFolder) -> None:
    before = dataclasses.replace(holder_of(ME), started="before the computer was started again")
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(before)))
    assert folder.read_state()["status"] == "interrupted"


def test_a_run_on_another_computer_is_running_and_left_alone(folder: RunFolder) -> None:
    elsewhere = dataclasses.replace(holder_of(ME), host="another")
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(elsewhere)))
    assert folder.read_state()["status"] == "running"
    with pytest.raises(RunFolderError, match="on the computer another"):
        take_lock(folder.path)


def test_a_run_that_torchrun_may_start_again_on_another_computer_has_not_failed(folder: RunFolder) -> None:
    """Its process gives up the lock once it is not started again."""
    elsewhere = dataclasses.replace(holder_of(ME), host="another", torchrun=7, torchrun_started="then")
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(elsewhere)))
    folder.write_state("failed", error="A worker was killed.")
    assert folder.read_state()["status"] == "running"
    assert RunRecord.of_folder(folder).state.status == "running"
    assert folder.computer == "another"
    assert folder.written == folder.state.stat().st_mtime
    long_ago = time.time() - RESTART_SECONDS - 60
    os.utime(folder.state, (long_ago, long_ago))
    assert folder.read_state()["status"] == "failed"  # nobody has started it again
    assert folder.held
    (folder.path / "lock").unlink()
    assert folder.read_state()["status"] == "failed"
    assert not folder.computer


@pytest.mark.parametrize(
    ("launch", "count", "taken"),
    [("job-7", "1", True), ("job-7", "0", False), ("job-8", "1", False), ("none", "1", False)],
)
def test_the_first_process_of_a_launch_may_come_again_on_another_computer(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, launch: str, count: str, taken: bool
) -> None:
    known = "" if launch == "none" else "job-7"
    elsewhere = dataclasses.replace(holder_of(ME), host="another", torchrun=7, torchrun_started="then", launch=known)
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(elsewhere)))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", launch)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
    if taken:
        take_lock(folder.path)
        assert read_lock(folder.path) == holder_of(ME)
    else:
        with pytest.raises(RunFolderError, match="on the computer another"):
            take_lock(folder.path)


@posix
def test_a_run_that_torchrun_starts_again_is_under_way_as_long_as_torchrun_lives(
    folder: RunFolder, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = holder_of(other.pid)
    by_torchrun = {"torchrun": torchrun.process, "torchrun_started": torchrun.started}
    dead = dataclasses.replace(holder_of(ME), started="gone", **by_torchrun)
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(dead)))
    assert folder.read_state()["status"] == "running"
    folder.write_state("failed")
    assert folder.read_state()["status"] == "running"
    with pytest.raises(RunFolderError, match=f"number {ME}"):
        take_lock(folder.path)

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with monkeypatch.context() as here:
        here.setattr(os, "getppid", lambda: other.pid)
        take_lock(folder.path)  # in place of the one that died
    other.kill()
    other.wait()
    assert folder.read_state()["status"] == "failed"
    assert folder.held  # `torchrun` is gone, and this process trains on
    release_lock(folder.path)
    assert not folder.held


@posix
def test_a_lock_of_torchrun_outlives_nobody(folder: RunFolder, other: subprocess.Popen[bytes]) -> None:
    torchrun = holder_of(other.pid)
    by_torchrun = {"torchrun": torchrun.process, "torchrun_started": torchrun.started}
    dead = dataclasses.replace(holder_of(ME), started="gone", **by_torchrun)
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(dead)))
    other.kill()
    other.wait()
    assert folder.read_state()["status"] == "interrupted"
    take_lock(folder.path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"process": "1", "started": "", "host": ""}', '{"process": 1}', "7", "[" * 4000, "\0" * 9000],
)
def test_a_damaged_lock_is_none(folder: RunFolder, text: str) -> None:
    (folder.path / "lock").write_text(text)
    assert read_lock(folder.path) is None
    assert folder.read_state()["status"] == "interrupted"
    take_lock(folder.path)


@pytest.mark.parametrize("number", [0, -1, 10**30, 2**22 + 1])
def test_a_number_that_no_process_has_is_of_a_dead_one(number: int) -> None:
    assert holder_of(number).presence == "dead"


@posix
def test_a_pipe_in_place_of_a_lock_does_not_hold_its_reader_up(folder: RunFolder) -> None:
    release_lock(folder.path)
    os.mkfifo(folder.path / "lock")
    assert not folder.held
