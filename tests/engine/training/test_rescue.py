"""What is trained outlives every error: it is saved, or the newest checkpoint stands for it."""

from __future__ import annotations

import errno
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.engine import disk
from studio.engine.control import Control
from studio.engine.methods import METHODS
from studio.engine.training.result import restore_result, under_way
from studio.errors import RunFolderError, TrainingError
from studio.events import ProgressReported, RunEvent, RunFinished, RunPaused, RunResumed, StepCompleted
from studio.paths import default_runs_root
from studio.runs import RunFolder, list_runs
from tests.engine.training.trained import Trained

LAST = 4  # the step after which the runs of these tests fail


class Failing(Trained):
    """A run in which an error is raised after a step."""

    def __init__(self, tmp_path: Path, error: BaseException | None = None, **sections: Any) -> None:
        super().__init__(tmp_path, sections)
        self.error = error

    def emit(self, event: RunEvent | ProgressReported) -> None:
        super().emit(event)
        if isinstance(event, StepCompleted) and event.step == LAST:
            self.fail()

    def fail(self) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        torch.OutOfMemoryError("CUDA out of memory"),
        OSError(errno.EIO, "Input/output error"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_trained_part_is_saved_whatever_ends_the_run(tmp_path: Path, error: BaseException) -> None:
    done = Failing(tmp_path, error)
    with pytest.raises(type(error)):
        done.go()
    as_stopped_there = Trained(tmp_path, {"training": {"max_steps": LAST, "schedule": "constant", "warmup_ratio": 0.0}})
    assert set(done.weights) == set(as_stopped_there.go().weights)
    assert all(torch.isfinite(value).all() for value in done.weights.values())
    state = done.folder.read_state()
    assert (state["status"], state["updates"]) == ("failed", LAST)
    record = json.loads((done.folder.adapter / "adapter.json").read_text(encoding="utf-8"))
    assert record["update"] == LAST


def test_a_result_that_is_not_finite_is_not_saved_over_a_good_one(tmp_path: Path) -> None:
    done = Trained(tmp_path, {}).go()
    good = done.weights

    class Broken(Failing):
        def fail(self) -> None:
            raise RuntimeError("broken")

    broken = Broken(tmp_path)
    broken.folder = done.folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.engine.training.model.TrainableModel.finite", False)
        with pytest.raises(RuntimeError, match="broken"):
            broken.go()
    assert all(torch.equal(good[name], value) for name, value in done.weights.items())


def test_a_save_that_fails_leaves_the_result_before_it_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Trained(tmp_path, {}).go()
    before, files = done.weights, sorted(done.folder.path.iterdir())
    again = Trained(tmp_path, {"training": {"max_steps": 2}})
    again.folder = done.folder

    def half(*args: Any, **_: Any) -> None:
        (args[-1] / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(type(METHODS.get("lora")), "save", half)
    with pytest.raises(OSError, match="Input/output"):
        again.go()
    assert all(torch.equal(before[name], value) for name, value in done.weights.items())
    assert sorted(done.folder.path.iterdir()) == files


def test_a_result_that_is_missing_is_that_of_the_newest_checkpoint(tmp_path: Path) -> None:
    method = {"name": "lora", "rank": 4, "init": "pissa"}
    done = Trained(tmp_path, {"training": {"max_steps": 3}, "method": method}).go()
    result = done.weights
    assert restore_result(done.folder, lambda *_: None) == ""  # it has its result
    shutil.rmtree(done.folder.adapter)
    assert restore_result(done.folder, lambda *_: None).endswith("saved; this is its newest checkpoint, of update 3.")
    assert all(torch.equal(result[name], value) for name, value in done.weights.items())

    weights = done.folder.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")  # damaged: the checkpoint stands for it, too
    assert restore_result(done.folder, lambda *_: None).startswith("The saved result is damaged; ")
    assert all(torch.equal(result[name], value) for name, value in load_file(weights).items())


def test_a_run_under_way_is_copied_as_its_newest_checkpoint_and_left_alone(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"training": {"max_steps": 3}}).go()
    files = sorted(done.folder.path.rglob("*"))
    with under_way(done.folder, lambda *_: None) as (copy, sentence):
        assert sentence == "The run is under way; this is its checkpoint of update 3."
        (weights,) = copy.adapter.glob("*.safetensors")
        assert all(torch.equal(done.weights[name], value) for name, value in load_file(weights).items())
    assert not copy.path.exists()
    assert sorted(done.folder.path.rglob("*")) == files
    shutil.rmtree(done.folder.checkpoints)
    with pytest.raises(TrainingError, match="no checkpoint yet"), under_way(done.folder, lambda *_: None):
        pass


def test_on_a_full_disk_the_result_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.0)
    save, left = type(METHODS.get("lora")).save, [3]

    def full(*args: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args)

    monkeypatch.setattr(type(METHODS.get("lora")), "save", full)
    done = Trained(tmp_path, {"training": {"max_steps": 2}}).go()
    assert [event.because for event in done.of(RunPaused)] == [disk.DISK_FULL]
    assert len(done.of(RunResumed)) == 1
    assert done.of(RunFinished)
    assert done.weights
    assert done.folder.read_state()["status"] == "finished"


def test_a_state_that_waited_for_room_is_that_of_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.0)
    write, left = RunFolder.write_state, [1]

    def full(folder: RunFolder, status: Any, **details: Any) -> None:
        if status == "finished" and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder, status, **details)

    monkeypatch.setattr(RunFolder, "write_state", full)
    done = Trained(tmp_path, {"training": {"max_steps": 1}}).go()
    assert [type(event) for event in done.events[-3:]] == [RunPaused, RunResumed, RunFinished]
    assert done.folder.read_state()["status"] == "finished"


def test_a_stopped_run_that_nobody_attends_does_not_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(METHODS.get("lora")), "save", full)
    control = Control()

    class Stopping(Failing):
        def fail(self) -> None:
            control.stop()

    stopped = Stopping(tmp_path)
    stopped.control = control
    with pytest.raises(OSError, match="No space"):
        stopped.go()
    assert stopped.folder.read_state()["status"] == "failed"


def test_a_run_folder_that_is_deleted_is_not_the_end_of_what_was_trained(tmp_path: Path) -> None:
    class Deleting(Failing):
        def fail(self) -> None:
            while self.folder.path.exists():  # a checkpoint may be written into it at the same time
                shutil.rmtree(self.folder.path, ignore_errors=True)
            raise RunFolderError("deleted")

    done = Deleting(tmp_path)
    with pytest.raises(RunFolderError, match="what was trained is in"):
        done.go()
    (rescued,) = list_runs(default_runs_root())
    state = rescued.read_state()
    assert (state["status"], state["updates"], state["method"]) == ("failed", LAST, "lora")
    assert load_file(rescued.adapter / "adapter_model.safetensors")
    assert not rescued.held
    assert not done.folder.path.exists()


def test_a_clock_that_is_set_back_changes_no_duration_and_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [2e9]

    def back() -> float:
        now[0] -= 3600.0
        return now[0]

    monkeypatch.setattr(time, "time", back)
    done = Trained(tmp_path, {"training": {"max_steps": 3}}).go()
    (finished,) = done.of(RunFinished)
    assert 0 <= finished.seconds < 600
    assert [step.step for step in done.steps] == [1, 2, 3]
    assert all(0 <= step.seconds < 600 for step in done.steps)
