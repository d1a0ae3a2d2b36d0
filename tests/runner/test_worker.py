"""Whatever fails, the watcher hears how the run ended, before anything is written."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from studio.config import RunConfig, parse_config
from studio.engine import disk
from studio.engine.control import Control
from studio.errors import ConfigError, NotResumed, TrainingError
from studio.events import CheckpointSaved, RunEvent, RunFailed, RunFinished, RunPaused, RunResumed
from studio.runner.controller import Controller
from studio.runner.launch import Launch
from studio.runner.record import RunRecord
from studio.runner.state import LogLine, Update
from studio.runner.worker import resume_training, run_training
from studio.runs import RunFolder, create_run, holder_of, read_journal, read_lock, release_lock, take_lock

CONFIG = parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}})
SAVED = CheckpointSaved(step=1, update=1, path="x")
FINISHED = RunFinished(
    status="finished",
    step=1,
    update=1,
    trainable_parameters=1,
    total_parameters=1,
    adapter_bytes=1,
    peak_memory=1,
    seconds=1.0,
)
Train = Callable[[Callable[[RunEvent], None]], None]


class Watched:
    """A run of a training that the test says, and what its watcher was told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder: RunFolder = create_run(root, "x", "")
        self.control = Control()
        self.told: list[Update] = []
        self._patch = monkeypatch

    def run(self, train: Train) -> list[RunEvent]:
        """Train; return the events that were told, without those of waiting for room."""

        def in_place_of_the_engine(_: RunConfig, folder: RunFolder, control: Control, emit: Any) -> None:
            train(emit)

        self._patch.setattr("studio.engine.training.run.train", in_place_of_the_engine)
        run_training(CONFIG, self.folder, self.control, self.told.append)
        return [update for update in self.told if not isinstance(update, LogLine)]  # type: ignore[misc]

    @property
    def journalled(self) -> list[RunEvent]:
        return list(read_journal(self.folder.journal))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(tmp_path, monkeypatch)


def failing(code: int, times: int = 10**9, before: Callable[[], None] = lambda: None) -> Callable[..., int]:
    """Return an `os.write` that fails so often."""
    real, left = os.write, [times]

    def write(file: int, data: Any) -> int:
        if left[0] == 0:
            return real(file, data)
        before()
        left[0] -= 1
        raise OSError(code, os.strerror(code))

    return write


def test_a_training_that_ends_without_a_word_has_failed(watched: Watched) -> None:
    (end,) = watched.run(lambda emit: None)
    assert isinstance(end, RunFailed)
    assert watched.folder.read_state()["status"] == "failed"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(0), MemoryError(), GeneratorExit()])
def test_whatever_is_raised_is_told_and_written(watched: Watched, error: BaseException) -> None:
    def train(emit: Callable[[RunEvent], None]) -> None:
        raise error

    (end,) = watched.run(train)
    assert isinstance(end, RunFailed)
    assert watched.journalled == [end]
    assert read_lock(watched.folder.path) is None


def test_the_watcher_hears_the_end_though_nothing_can_be_written(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, os_open = Path.open, os.open

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    def open_to_read(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return opened(path, mode, *args, **options) if mode in ("r", "rb") else fail()

    def os_open_to_read(path: Any, flags: int, *args: Any, **options: Any) -> int:
        return fail() if flags & (os.O_WRONLY | os.O_RDWR) else os_open(path, flags, *args, **options)

    def train(emit: Callable[[RunEvent], None]) -> None:
        for name in ("write", "fsync"):
            monkeypatch.setattr(os, name, fail)
        monkeypatch.setattr(os, "open", os_open_to_read)
        monkeypatch.setattr(Path, "open", open_to_read)
        monkeypatch.setattr("logging.FileHandler._open", fail)
        raise ValueError("of some kind")

    end = next(update for update in watched.run(train) if isinstance(update, RunFailed))
    monkeypatch.undo()
    assert "of some kind" in end.sentence
    assert watched.folder.read_state()["status"] == "interrupted"  # what it says has no process any more


def test_the_run_of_another_process_is_refused_and_left_as_it_is(watched: Watched) -> None:
    watched.folder.write_state("running")
    take_lock(watched.folder.path, holder_of(os.getppid()))
    (end,) = watched.run(lambda emit: pytest.fail("it must not train"))
    assert isinstance(end, RunFailed)
    assert f"number {os.getppid()}" in end.sentence
    assert watched.folder.read_state()["status"] == "running"
    assert not watched.folder.journal.exists()


def test_what_the_journal_could_not_take_follows_in_order(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(emit: Callable[[RunEvent], None]) -> None:
        monkeypatch.setattr(os, "write", failing(errno.EIO, times=1))
        emit(SAVED)
        emit(FINISHED)

    assert watched.run(train) == [SAVED, FINISHED]
    assert watched.journalled == [SAVED, FINISHED]


def test_nobody_hears_of_success_that_is_not_written(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(emit: Callable[[RunEvent], None]) -> None:
        watched.folder.write_state("finished")
        monkeypatch.setattr(os, "write", failing(errno.EIO))
        emit(FINISHED)

    (end,) = watched.run(train)
    assert isinstance(end, RunFailed)
    assert watched.folder.read_state()["status"] == "failed"


def test_a_line_that_the_disk_took_in_part_is_whole_in_the_end(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, [0]

    def write(file: int, data: Any) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.EIO, "Input/output error")
        return real(file, bytes(data[: max(1, len(data) // 2)]))

    def train(emit: Callable[[RunEvent], None]) -> None:
        monkeypatch.setattr(os, "write", write)
        emit(SAVED)
        emit(FINISHED)

    watched.run(train)
    assert watched.journalled == [SAVED, FINISHED]


def test_on_a_full_disk_the_run_waits_says_so_and_goes_on(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.0)

    def train(emit: Callable[[RunEvent], None]) -> None:
        monkeypatch.setattr(os, "write", failing(errno.ENOSPC, times=5))
        emit(SAVED)
        emit(FINISHED)

    first, paused, resumed, last = watched.run(train)
    assert (first, last) == (SAVED, FINISHED)
    assert isinstance(paused, RunPaused)
    assert paused.because == disk.DISK_FULL
    assert isinstance(resumed, RunResumed)
    assert watched.journalled == [SAVED, paused, resumed, FINISHED]


def test_a_stop_ends_the_wait_for_room(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    went_on = threading.Event()

    def train(emit: Callable[[RunEvent], None]) -> None:
        monkeypatch.setattr(os, "write", failing(errno.ENOSPC, before=watched.control.stop))
        emit(SAVED)
        went_on.set()
        monkeypatch.undo()
        emit(FINISHED)

    watched.run(train)
    assert went_on.is_set()
    assert FINISHED in watched.journalled


def test_a_run_folder_that_is_deleted_ends_the_run_with_a_sentence(watched: Watched) -> None:
    def train(emit: Callable[[RunEvent], None]) -> None:
        emit(SAVED)
        shutil.rmtree(watched.folder.path)
        emit(FINISHED)

    _, end = watched.run(train)
    assert isinstance(end, RunFailed)
    assert "was deleted or moved" in end.sentence


def test_a_line_that_a_crash_cut_off_does_not_spoil_the_next_one(watched: Watched) -> None:
    watched.folder.journal.write_text('{"type": "run_fin', encoding="utf-8")
    watched.run(lambda emit: emit(FINISHED))
    assert watched.journalled == [FINISHED]


def test_the_lock_is_free_when_the_run_has_ended(watched: Watched) -> None:
    release_lock(watched.folder.path)
    held = []

    def train(emit: Callable[[RunEvent], None]) -> None:
        held.append(watched.folder.held)
        emit(FINISHED)

    watched.run(train)
    assert held == [True]
    assert not watched.folder.held


def test_who_watches_a_run_that_torchrun_starts_again_hears_no_failure_before_its_end(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(emit: Callable[[RunEvent], None]) -> None:
        raise RuntimeError("process 1 is gone")

    release_lock(watched.folder.path)
    for name, value in (("RUN_ID", "x"), ("MAX_RESTARTS", "1"), ("RESTART_COUNT", "0")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)  # and the process that started this one is `torchrun`
    watched.run(fail)
    record = RunRecord.of_folder(watched.folder)
    assert (record.state.status, record.grows) == ("running", True)
    controller = Controller()
    controller.attach(watched.folder)
    assert not controller.join(1.2)
    assert not any(isinstance(update, RunFailed) for update in controller.poll())

    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    watched.run(fail)  # for good
    assert controller.join(30)
    (failed,) = (update for update in controller.poll() if isinstance(update, RunFailed))
    assert "process 1 is gone" in failed.sentence
    assert not watched.folder.held
    assert watched.folder.read_state()["status"] == "failed"


def test_a_run_that_was_refused_in_words_is_over_though_torchrun_would_start_it_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(emit: Callable[[RunEvent], None]) -> None:
        raise TrainingError("No row is left.")

    release_lock(watched.folder.path)
    for name, value in (("RUN_ID", "x"), ("MAX_RESTARTS", "1"), ("RESTART_COUNT", "0")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    watched.run(refuse)
    assert watched.folder.read_state()["status"] == "failed"
    assert not watched.folder.held
    assert Launch("x", rank=0, restarts=1).ended(watched.folder)


def test_an_ended_run_that_cannot_be_continued_stays_as_it_was(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise TrainingError("The data are others.")

    monkeypatch.setattr("studio.engine.training.run.resume", refuse)
    watched.run(lambda emit: emit(FINISHED))
    watched.folder.write_state("finished")
    told: list[Update] = []
    resume_training(watched.folder, watched.control, told.append)
    assert [update.sentence for update in told if isinstance(update, RunFailed)] == ["The data are others."]
    assert watched.folder.read_state()["status"] == "finished"
    assert watched.journalled == [FINISHED]


def test_memory_that_was_too_little_to_go_on_is_told_in_words(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotResumed("[enforce fail] can't allocate memory") from MemoryError("[enforce fail]")

    monkeypatch.setattr("studio.engine.training.run.resume", refuse)
    watched.folder.write_state("stopped")
    resume_training(watched.folder, watched.control, watched.told.append)
    (failed,) = [update for update in watched.told if isinstance(update, RunFailed)]
    assert failed.sentence.startswith("The memory was not enough")
    assert watched.folder.read_state()["status"] == "stopped"


@pytest.mark.parametrize(
    ("cause", "level"), [(ConfigError("It has done all."), "INFO"), (IndexError("list index out of range"), "ERROR")]
)
def test_a_refusal_to_go_on_is_a_line_of_the_log_and_a_defect_has_its_traceback_there(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cause: Exception, level: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotResumed(str(cause)) from cause

    monkeypatch.setattr("studio.engine.training.run.resume", refuse)
    caplog.set_level(logging.INFO)
    watched.folder.write_state("finished")
    resume_training(watched.folder, watched.control, watched.told.append)
    (record,) = [record for record in caplog.records if record.name == "studio.runner.worker"]
    assert record.levelname == level
    assert bool(record.exc_info) is (level == "ERROR")
    assert level == "ERROR" or str(cause) in record.getMessage()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_in_a_strangers_run_is_never_written(watched: Watched, tmp_path: Path, kind: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")

    def put(place: Path) -> None:
        place.unlink(missing_ok=True)
        place.symlink_to(precious) if kind == "link" else os.mkfifo(place)

    put(watched.folder.log)
    watched.run(lambda emit: emit(FINISHED))  # the log view has what run.log would
    assert FINISHED in watched.told
    put(watched.folder.journal)
    watched.run(lambda emit: emit(FINISHED))
    (failed,) = (update for update in watched.told if isinstance(update, RunFailed))
    assert failed.sentence.endswith("events.jsonl cannot be read or written: it is not a regular file.")
    assert precious.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed memory so that it can be asked for")
def test_memory_that_training_held_is_given_back(watched: Watched) -> None:
    held: list[torch.Tensor] = []

    def leave_holes(emit: Callable[[RunEvent], None]) -> None:
        pieces = [torch.zeros(2**14) for _ in range(4000)]  # 64 KiB each: they come from the heap
        held.append(pieces.pop())  # so that the C library cannot give the heap's end back by itself
        pieces.clear()
        emit(FINISHED)

    process = psutil.Process()
    before = process.memory_info().rss
    watched.run(leave_holes)
    assert process.memory_info().rss - before < 50 * 2**20
