"""Long actions run in the background, can be cancelled, and end in a result or a sentence."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from studio.config import RunConfig, parse_config
from studio.engine.control import Control, Progress
from studio.errors import Cancelled, DataError, TrainingError
from studio.events import ProgressReported, RunEvent, RunFailed
from studio.runner.controller import Controller
from studio.runner.record import RunRecord
from studio.runner.state import LogLine
from studio.runner.task import Task
from studio.runs import RunFolder, read_journal

CONFIG = parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}})


def test_a_task_gives_its_result_and_its_progress() -> None:
    def action(progress: Progress) -> int:
        progress("reading_data", 1, 2)
        return 42

    task = Task("t", action)
    assert task.join(5)
    assert task.result() == 42
    assert task.progress == ("reading_data", 1, 2)


def test_a_cancelled_task_ends_at_its_next_report() -> None:
    started = threading.Event()

    def action(progress: Progress) -> None:
        started.set()
        while True:
            progress("reading_data", 0, 0)

    task = Task("t", action)
    started.wait(5)
    task.cancel()
    assert task.join(5)
    assert task.cancelled
    with pytest.raises(Cancelled):
        task.result()


def test_a_task_raises_what_its_action_raised() -> None:
    def action(progress: Progress) -> None:
        raise DataError("No rows.")

    task = Task("t", action)
    task.join(5)
    with pytest.raises(DataError, match="No rows"):
        task.result()
    assert not task.cancelled


def _controller(monkeypatch: pytest.MonkeyPatch, train: object) -> Controller:
    monkeypatch.setattr("studio.engine.training.run.train", train)
    return Controller()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("The file d has no rows."), "The file d has no rows."),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
    ],
)
def test_an_error_in_the_worker_is_one_sentence_and_a_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def train(*_: object) -> None:
        raise error

    controller = _controller(monkeypatch, train)
    folder = controller.start(CONFIG, tmp_path)
    assert controller.join(20)
    last = list(read_journal(folder.journal))[-1]
    assert isinstance(last, RunFailed)
    assert expected in last.sentence
    assert "\n" not in last.sentence
    assert folder.read_state()["status"] == "failed"
    assert "Traceback" in folder.log.read_text(encoding="utf-8")
    updates = controller.poll()
    assert last in updates
    assert any(isinstance(update, LogLine) for update in updates)


def test_only_one_run_at_a_time_and_stop_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, stopped = threading.Event(), threading.Event()

    def train(config: RunConfig, folder: RunFolder, control: Control, emit: object) -> None:
        started.set()
        control.pause()
        control.wait_while_paused()
        assert control.stop_requested
        stopped.set()

    controller = _controller(monkeypatch, train)
    controller.start(CONFIG, tmp_path)
    started.wait(20)
    with pytest.raises(TrainingError, match="under way"):
        controller.start(CONFIG, tmp_path)
    controller.stop()
    assert controller.join(5)
    assert stopped.is_set()


def test_progress_passes_by_and_only_events_are_journalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = RunFailed(step=1, sentence="No.")

    def train(config: RunConfig, folder: RunFolder, control: Control, emit: object) -> None:
        emit(ProgressReported(stage="reading_data", done=1, total=2))  # type: ignore[operator]
        emit(event)  # type: ignore[operator]

    controller = _controller(monkeypatch, train)
    folder = controller.start(CONFIG, tmp_path)
    controller.join(20)
    journalled: list[RunEvent] = list(read_journal(folder.journal))
    assert journalled == [event]
    record = RunRecord(folder)
    for update in controller.poll():
        record.apply(update)
    assert record.state.stage == ""
    assert record.version >= 2
