"""The meters of a run: on its time line, in its journal, and without a trace in its result."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.events import MetersSampled, RunResumed, StepCompleted, from_json, to_json
from studio.runner.meters import sampler
from studio.runner.meters.sampler import Sampler
from studio.runner.record import RunRecord
from studio.runner.state import Update
from studio.runner.worker import run_training
from studio.runs import RunFolder, create_run, read_journal
from tests import tiny
from tests.screenshots.scripted import scripted_events, with_meters


class Clock:
    """The seconds that the sampler sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(sampler.time, "monotonic", lambda: self.now)


def _read_at(sampled: Sampler, clock: Clock, *moments: float) -> None:
    for moment in moments:
        clock.now = moment
        sampled.look()


def test_a_sample_stands_between_two_steps_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sampled = Sampler()
    assert sampled.take(4) == []
    _read_at(sampled, clock, 102.5, 105.0)
    clock.now = 110.0
    assert [sample.step for sample in sampled.take(5)] == [4.25, 4.5]


def test_a_sample_without_a_step_after_it_stands_at_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sampled = Sampler()
    sampled.take(4)
    _read_at(sampled, clock, 102.5)
    assert [sample.step for sample in sampled.take(4)] == [4]


def test_what_was_sampled_in_a_pause_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sampled = Sampler()
    sampled.take(4)
    _read_at(sampled, clock, 102.5)
    sampled.go_back(4)
    _read_at(sampled, clock, 103.5)
    clock.now = 104.5
    assert [sample.step for sample in sampled.take(5)] == [4.5]


def test_meters_that_fail_leave_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        closed = False

        def read(self) -> dict[str, Any]:
            raise ZeroDivisionError

        def close(self) -> None:
            self.closed = True

    broken = Broken()
    monkeypatch.setattr(sampler, "ComputerMeters", lambda: broken)
    sampled = Sampler(0.0)
    sampled.start("cpu")
    sampled.close()
    assert broken.closed
    assert sampled.take(1) == []


def test_an_event_is_read_from_the_journal_as_it_was_written() -> None:
    sample = next(event for event in with_meters(scripted_events()) if isinstance(event, MetersSampled))
    assert from_json(to_json(sample)) == sample


def test_the_record_forgets_meters_of_steps_that_are_made_again() -> None:
    record = RunRecord()
    for event in with_meters(scripted_events()):
        record.apply(event)
    assert record.series["gpu_use"].x[-1] == 212.5
    assert record.throttled[0] == 152.5
    record.apply(RunResumed(step=151, restarted=True))
    assert record.series["gpu_use"].x[-1] == 150.5
    assert record.throttled == []


def _train(root: Path, model: Path, rows: Path) -> tuple[RunFolder, list[Update]]:
    config = parse_config(
        {
            "model": {"path": str(model)},
            "data": {"sources": [{"path": str(rows)}]},
            "training": {"max_steps": 6, "batch_size": 2, "device": "cpu"},
            "precision": {"name": "fp32"},
            "retention": {"measure": False},
        }
    )
    folder, told = create_run(root, "run", write_config(config)), list[Update]()
    run_training(config, folder, Control(), told.append)
    return folder, told


def test_a_run_is_the_same_bit_for_bit_with_its_meters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = tiny.save_model(tmp_path / "model"), tiny.save_rows(tmp_path / "rows.jsonl")
    monkeypatch.setattr(sampler, "PERIOD", 0.0005)
    metered, told = _train(tmp_path / "with", model, rows)
    monkeypatch.setattr(sampler, "PERIOD", 1e6)
    plain, _ = _train(tmp_path / "without", model, rows)

    samples = [event for event in read_journal(metered.journal) if isinstance(event, MetersSampled)]
    assert samples
    assert samples == [update for update in told if isinstance(update, MetersSampled)]
    assert [sample.step for sample in samples] == sorted(sample.step for sample in samples)
    assert all(0 < (sample.processor or 0) <= 1 or sample.processor == 0 for sample in samples)
    assert not any(isinstance(event, MetersSampled) for event in read_journal(plain.journal))
    losses = [
        [event.loss for event in read_journal(folder.journal) if isinstance(event, StepCompleted)]
        for folder in (metered, plain)
    ]
    assert losses[0] == losses[1]
    weights = "adapter/adapter_model.safetensors"
    assert (metered.path / weights).read_bytes() == (plain.path / weights).read_bytes()
    assert not [thread for thread in threading.enumerate() if thread.name == "training meters"]
