"""The queue keeps its order over a restart, starts one run at a time, and passes over what cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.config import RunConfig, parse_config
from studio.errors import TrainingError
from studio.runner.queue import RunQueue
from tests.ui.fakes import FakeController


def _config(name: str) -> RunConfig:
    return parse_config({"model": {"path": f"/models/{name}"}, "data": {"sources": [{"path": "/rows.jsonl"}]}})


@pytest.fixture
def queue(tmp_path: Path) -> RunQueue:
    queue = RunQueue(tmp_path / "home" / "queue.json")
    for name in ("one", "two", "three"):
        queue.add(_config(name), tmp_path / "runs", "process" if name == "two" else "thread")
    return queue


def _names(queue: RunQueue) -> list[str]:
    return [run.title.split()[0] for run in queue.runs]


def test_a_restart_finds_the_same_runs_in_the_same_order_and_holds_them(queue: RunQueue, tmp_path: Path) -> None:
    queue.held = False
    queue.move(queue.runs[2].key, 0)
    queue.remove(queue.runs[1].key)
    again = RunQueue(tmp_path / "home" / "queue.json")
    assert again.runs == queue.runs
    assert _names(again) == ["three", "two"]
    assert again.held
    assert again.start_next(FakeController()) is None  # type: ignore[arg-type]


def test_one_run_is_started_with_its_own_configuration_and_leaves_the_queue(queue: RunQueue) -> None:
    queue.held = False
    controller = FakeController()
    assert queue.start_next(controller) is not None  # type: ignore[arg-type]
    assert controller.started == [_config("one")]
    assert queue.start_next(controller) is None  # type: ignore[arg-type]  # one is under way
    controller.running = False
    queue.start_next(controller)  # type: ignore[arg-type]
    assert controller.where == "process"
    assert _names(queue) == ["three"]


def test_one_that_cannot_start_is_passed_over_with_the_reason(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue.held = False
    controller = FakeController()
    start = controller.start

    def refuse_one(config: RunConfig, *rest: object) -> object:
        if config.model.path.endswith("one"):
            raise TrainingError("There is no such model.")
        return start(config, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(controller, "start", refuse_one)
    started = queue.start_next(controller)  # type: ignore[arg-type]
    assert started is not None
    assert started.title.startswith("two")
    again = RunQueue(tmp_path / "home" / "queue.json")
    assert [(run.title.split()[0], run.problem) for run in again.runs] == [
        ("one", "There is no such model."),
        ("three", ""),
    ]


def test_two_windows_see_each_other_and_never_start_the_same_run(queue: RunQueue, tmp_path: Path) -> None:
    other = RunQueue(tmp_path / "home" / "queue.json")
    assert _names(other) == ["one", "two", "three"]
    queue.held = other.held = False
    started = queue.start_next(FakeController())  # type: ignore[arg-type]
    also = other.start_next(FakeController())  # type: ignore[arg-type]
    assert started is not None
    assert also is not None
    assert (started.title.split()[0], also.title.split()[0]) == ("one", "two")
    other.add(_config("four"), tmp_path / "runs")
    assert _names(queue) == _names(other) == ["three", "four"]


@pytest.mark.parametrize("text", ["{", "[1, {}]", '{"a": 1}', "[" * 100_000, '[{"key": "x", "where": "moon"}]'])
def test_a_damaged_file_is_an_empty_queue(tmp_path: Path, text: str) -> None:
    path = tmp_path / "queue.json"
    path.write_text(text)
    assert RunQueue(path).runs == ()
