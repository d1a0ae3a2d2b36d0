"""Checkpoints: when one is saved, what may enter, and that it is on the disk before it gets its name."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from studio.engine.training import checkpoint
from studio.engine.training.monitor import NumericsMonitor
from studio.engine.training.state import Position
from studio.engine.training.trainer import Attempt
from studio.errors import TrainingError
from studio.events import CheckpointSaved, StepCompleted
from tests.engine.training.trained import Trained, checkpoint_every_update
from tests.tiny import bench, rows


def test_one_is_saved_only_while_the_run_is_calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be the middle of an explosion is nothing to go back to."""
    judged, calm = NumericsMonitor.judge, [True]

    def judge(self: NumericsMonitor, done: StepCompleted, attempt: Attempt) -> None:
        judged(self, done, attempt)
        calm.append(done.update in (3, 6))

    monkeypatch.setattr(NumericsMonitor, "judge", judge)
    monkeypatch.setattr(NumericsMonitor, "calm", property(lambda self: calm[-1]))
    checkpoint_every_update(monkeypatch)
    done = Trained(tmp_path, {"training": {"max_steps": 7}}).go()
    assert [event.update for event in done.of(CheckpointSaved)] == [3, 6, 7]  # and the last one, at the end


def test_every_file_is_on_the_disk_before_the_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss a folder may stand under its name with files that are empty, unless they were flushed."""
    place, flushed = tmp_path / "step-000001", set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        if not place.exists():
            flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    tiny = bench()
    tiny.update(rows(4))
    checkpoint.write(checkpoint.take(tiny.trainer, Position(1, 1, 1)), place)
    files = [file for file in place.iterdir() if file.is_file()]
    assert len(files) == 4
    assert {file.stat().st_ino for file in files} <= flushed


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, damage: float) -> None:
    tiny = bench()
    with torch.no_grad():
        tiny.parameters[1][0, 0] = damage
    with pytest.raises(TrainingError, match="not a finite number"):
        checkpoint.write(checkpoint.take(tiny.trainer, Position(1, 1, 1)), tmp_path / "step-000001")
    assert list(tmp_path.iterdir()) == []


def test_a_byte_that_was_changed_is_found(tmp_path: Path) -> None:
    tiny, place = bench(), tmp_path / "step-000001"
    tiny.update(rows(4))
    checkpoint.write(checkpoint.take(tiny.trainer, Position(1, 1, 1)), place)
    assert checkpoint.read(place).position == {"step": 1, "update": 1, "batch": 1}
    weights = place / checkpoint.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(TrainingError, match="damaged"):
        checkpoint.read(place)


def test_put_back_a_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    """Adam's averages, the scale and its streak of good updates; the scale never shows in a loss, so it is compared."""
    precision = {"name": "fp16-mixed", "initial_scale": 1024.0, "growth_interval": 3}
    whole = bench(precision=precision)
    first = [whole.update(rows(4, seed=seed)).loss for seed in range(2)]
    assert all(map(math.isfinite, first))
    checkpoint.write(checkpoint.take(whole.trainer, Position(2, 2, 2)), tmp_path / "step-000002")
    after = [whole.update(rows(4, seed=seed)).loss for seed in (2, 3)]
    resumed, position = bench(precision=precision), Position()
    resumed.trainer.scaler.scale = 64.0  # type: ignore[union-attr]
    checkpoint.put_back(checkpoint.read(tmp_path / "step-000002"), resumed.trainer, position)
    assert (position.step, position.update, position.batch) == (2, 2, 2)
    assert resumed.trainer.scaler.good_updates == 2  # type: ignore[union-attr]
    assert resumed.trainer.scaler.scale == 1024.0  # type: ignore[union-attr]
    resumed.attempts = 2
    assert [resumed.update(rows(4, seed=seed)).loss for seed in (2, 3)] == after
    assert resumed.trainer.scaler == whole.trainer.scaler
