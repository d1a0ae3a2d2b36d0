"""`torchrun` starts two processes that train together; one of them is killed, and the run goes on to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.config import parse_config, write_config
from studio.events import RunResumed, StepCompleted
from studio.runs import RunFolder, list_runs, read_journal
from tests.engine.training.trained import Trained
from tests.tiny import save_model, save_rows

ROOT = Path(__file__).parents[2]
UPDATES = 200
PATIENCE = 480.0


LORA: dict[str, Any] = {"method": {"name": "lora", "rank": 4, "dropout": 0.0}}
SPREAD: dict[str, Any] = {"method": {"name": "full"}, "training": {"shard": "on"}}


def _configuration(tmp_path: Path, sections: dict[str, Any]) -> Path:
    save_model(tmp_path / "model")
    save_rows(tmp_path / "rows.jsonl")
    tables: dict[str, Any] = {
        "model": {"path": str(tmp_path / "model")},
        "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}], "validation_fraction": 0.1},
        "precision": {"name": "fp32"},
        "training": {"batch_size": 4, "max_steps": UPDATES, "learning_rate": 1e-3, "device": "cpu"},
        "checkpoints": {"every_minutes": 0.01},
        "retention": {"measure": False},
    }
    for section, values in sections.items():
        tables[section] = tables.get(section, {}) | values
    file = tmp_path / "run.toml"
    file.write_text(write_config(parse_config(tables)), encoding="utf-8")
    return file


def _torchrun(*command: str) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*start, "-m", "studio", *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _until_checkpoint(runs: Path, process: subprocess.Popen[str]) -> RunFolder:
    """Wait for a checkpoint of the only run. The process ends first where something is wrong."""
    while process.poll() is None:
        for run in list_runs(runs):
            if run.list_checkpoints():
                return run
        time.sleep(0.05)  # between two looks; nothing tells another process of a new folder
    raise AssertionError(process.communicate()[0])


def _workers(process: subprocess.Popen[str]) -> Iterator[tuple[int, psutil.Process]]:
    for child in psutil.Process(process.pid).children():
        environment = child.environ()
        if "RANK" in environment:
            yield int(environment["RANK"]), child


@pytest.mark.parametrize("sections", [LORA, SPREAD], ids=["whole", "spread"])
def test_a_killed_process_is_started_again_and_the_run_goes_on(sections: dict[str, Any], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = _torchrun("train", str(_configuration(tmp_path, sections)), "--runs", str(runs))
    run = _until_checkpoint(runs, process)
    dict(_workers(process))[1].send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert [one.name for one in list_runs(runs)] == [run.name]
    assert run.read_state()["status"] == "finished"
    events = list(read_journal(run.journal))
    (resumed,) = [event for event in events if isinstance(event, RunResumed)]
    assert 0 < resumed.step < UPDATES
    losses = {event.step: event.loss for event in events if isinstance(event, StepCompleted)}
    assert sorted(losses) == list(range(1, UPDATES + 1))

    alike = {"training": {"max_steps": UPDATES, "learning_rate": 1e-3}, "retention": {"measure": False}}
    alone = Trained(tmp_path, {"method": sections["method"], **alike}).go()
    assert [losses[step.step] for step in alone.steps] == pytest.approx([s.loss for s in alone.steps], abs=1e-4)
