"""On a disk that is really full the run waits, says so, and goes on once there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.config import parse_config, write_config
from studio.engine import disk
from studio.engine.control import Control
from studio.events import ProgressReported, RunFinished, RunPaused, RunResumed, StepCompleted
from studio.runner.state import Update
from studio.runner.worker import run_training
from studio.runs import create_run, read_journal
from tests.tiny import save_model, save_rows

MEGABYTES = 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB in memory."""
    if sys.platform != "linux":
        pytest.skip("there is no tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"this user may not mount: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("attended", [True, False])
def test_on_a_disk_that_is_really_full_the_run_waits_and_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, attended: bool
) -> None:
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.01)
    filler = small_disk / "filler"
    config = parse_config(
        {
            "model": {"path": str(save_model(tmp_path / "model"))},
            "data": {"sources": [{"path": str(save_rows(tmp_path / "rows.jsonl"))}]},
            "method": {"name": "lora", "rank": 2},
            "precision": {"name": "fp32"},
            "training": {"batch_size": 4, "max_steps": 4, "device": "cpu"},
            "retention": {"measure": False},
        }
    )
    folder = create_run(small_disk / "runs", "x", write_config(config))
    told: list[Any] = []
    waits = threading.Event()

    def put(update: Update) -> None:
        if isinstance(update, StepCompleted) and update.step == 2:
            _fill(filler)
        if isinstance(update, RunPaused):
            waits.set()
        if not isinstance(update, ProgressReported):
            told.append(update)

    def free() -> None:
        waits.wait(60)
        filler.unlink()

    helper = threading.Thread(target=free)
    helper.start()
    run_training(config, folder, Control(attended=attended), put)
    helper.join()
    kinds = [type(update) for update in told if isinstance(update, RunPaused | RunResumed | RunFinished)]
    assert kinds == [RunPaused, RunResumed, RunFinished]
    assert [update.because for update in told if isinstance(update, RunPaused)] == [disk.DISK_FULL]
    steps = [event.step for event in read_journal(folder.journal) if isinstance(event, StepCompleted)]
    assert steps == [1, 2, 3, 4]
    assert folder.read_state()["status"] == "finished"
    assert any(folder.adapter.glob("*.safetensors"))


def _fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    os.write(file, b"\0" * size)
            except OSError:
                continue
    finally:
        os.close(file)
