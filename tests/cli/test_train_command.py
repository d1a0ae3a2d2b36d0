"""`train`: exit status, streams, and what becomes of a run that is stopped or fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.errors import DataError
from studio.events import RunStarted


@pytest.mark.usefixtures("short_run")
def test_the_run_folder_is_all_that_train_prints_on_stdout(
    command: Callable[..., Any], config: Path, tmp_path: Path
) -> None:
    answer = command("train", config, "--runs", tmp_path / "runs")
    assert answer.status == 0
    (line,) = answer.out.splitlines()
    assert Path(line).is_absolute()
    assert (Path(line) / "events.jsonl").is_file()


@pytest.mark.usefixtures("short_run")
def test_json_is_one_object_with_run_and_status(command: Callable[..., Any], config: Path, tmp_path: Path) -> None:
    values = command("train", config, "--runs", tmp_path / "runs", "--json").json
    assert values["status"] == "finished"
    assert Path(values["run"]).parent == tmp_path / "runs"
    assert values["validation_loss"] == {"first": 3.0, "last": 2.0}


@pytest.mark.usefixtures("short_run")
def test_the_person_reads_rows_skips_and_both_validation_losses(
    command: Callable[..., Any], config: Path, tmp_path: Path
) -> None:
    said = command("train", config, "--runs", tmp_path / "runs").err
    assert "10 rows to learn from, 2 to validate with, 1 skipped; 2 updates." in said
    assert "Update 0: validation loss 3.0000" in said
    assert "Update 2: validation loss 2.0000 on 2 of 7 held-out rows" in said
    assert "Finished: 2 updates" in said


def test_a_method_that_cannot_be_merged_is_announced_before_it_trains(
    command: Callable[..., Any], config: Path, tmp_path: Path, engine: Callable[..., None]
) -> None:
    def begin(_: Any, folder: Any, control: Any, emit: Callable[[Any], None]) -> None:
        about = {"kind": "chat", "precision": "fp32", "device": "cpu", "versions": {}}
        emit(RunStarted(run=folder.name, model="tiny", method="bottleneck-adapter", **about))  # type: ignore[arg-type]
        raise DataError("enough")

    engine(begin)
    said = command("train", config, "--runs", tmp_path / "runs", "--set", "method.name=bottleneck-adapter").err
    assert "It cannot be merged into the base. What you can export: Bundle" in said


@pytest.mark.usefixtures("short_run")
def test_set_replaces_a_setting_and_the_run_folder_keeps_it(
    command: Callable[..., Any], config: Path, tmp_path: Path
) -> None:
    answer = command("train", config, "--runs", tmp_path / "runs", "--set", "method.rank=3", "--set", "training.seed=7")
    text = (Path(answer.out.strip()) / "config.toml").read_text(encoding="utf-8")
    assert "rank = 3" in text
    assert "seed = 7" in text


def test_an_unknown_key_is_exit_2_and_names_the_nearest(command: Callable[..., Any], config: Path) -> None:
    answer = command("train", config, "--set", "training.learning_rat=1")
    assert answer.status == 2
    assert "training.learning_rate" in answer.err
    assert "Traceback" not in answer.err
    assert not answer.out


def test_a_run_that_fails_is_exit_1_with_its_sentence_and_its_folder(
    command: Callable[..., Any], engine: Callable[..., None], config: Path, tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        raise DataError("rows.jsonl has no rows.")

    engine(fail)
    answer = command("train", config, "--runs", tmp_path / "runs", "--json")
    assert answer.status == 1
    assert answer.json["status"] == "failed"
    assert answer.json["error"] == "rows.jsonl has no rows."
    assert answer.err.splitlines()[-1] == "rows.jsonl has no rows."


def test_what_a_library_prints_does_not_reach_stdout(
    command: Callable[..., Any], engine: Callable[..., None], ending: Callable[..., None], config: Path, tmp_path: Path
) -> None:
    def chatty(_: Any, folder: Any, __: Any, emit: Any) -> None:
        print("a library says hello")
        ending(folder, emit, "finished")

    engine(chatty)
    answer = command("train", config, "--runs", tmp_path / "runs", "--json")
    assert answer.json["status"] == "finished"
    assert "hello" in answer.err


WAITING = """
import signal, sys, types
sys.path.insert(0, {tests!r})
import conftest as fakes
module = types.ModuleType("studio.engine.training.run")
def train(config, folder, control, emit):
    print("waiting", flush=True)
    while {ignore} or not control._stop.wait(0.05):
        if control.take_checkpoint_request():
            print("a checkpoint", flush=True)
    print("text that nobody may read", flush=True)
    if {fail}:
        raise ValueError("of some kind")
    fakes.finish(folder, emit, "stopped")
module.train = train
sys.modules["studio.engine.training.run"] = module
signal.signal(signal.SIGHUP, signal.SIG_IGN if {nohup} else signal.SIG_DFL)  # the tests may run under nohup
from studio.cli import main
sys.exit(main(sys.argv[1:]))
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def start_waiting_run(
    config: Path, runs: Path, *, ignore: bool = False, fail: bool = False, nohup: bool = False
) -> subprocess.Popen[str]:
    """Start `train --json` in a process of its own and return once its worker is at work."""
    code = WAITING.format(tests=str(Path(__file__).parent), ignore=ignore, fail=fail, nohup=nohup)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", str(config), "--runs", str(runs), "--json"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, "waiting")
    return process


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return
    pytest.fail(f"the process ended before it said {text!r}: {''.join(said)}")


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_the_run_cleanly(config: Path, tmp_path: Path, number: str) -> None:
    process = start_waiting_run(config, tmp_path / "runs")
    for _ in range(1 if number == "SIGINT" else 2):  # a closed terminal sends more than one
        process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == "stopped"


@posix
@pytest.mark.parametrize(("fail", "status"), [(False, 0), (True, 1)], ids=["stopped", "failed"])
def test_a_terminal_that_is_gone_neither_ends_a_run_nor_hides_its_failure(
    config: Path, tmp_path: Path, fail: bool, status: int
) -> None:
    process = start_waiting_run(config, tmp_path / "runs", fail=fail)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == status
    (state,) = (tmp_path / "runs").glob("*/state.json")
    assert json.loads(state.read_text(encoding="utf-8"))["status"] == ("failed" if fail else "stopped")


@posix
def test_a_run_started_with_nohup_outlives_its_terminal_and_saves_checkpoints_when_asked(
    config: Path, tmp_path: Path
) -> None:
    process = start_waiting_run(config, tmp_path / "runs", nohup=True)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    wait_for(process, "a checkpoint")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["status"] == "stopped"


@posix
def test_a_second_ctrl_c_quits_at_once_and_the_run_folder_says_so(config: Path, tmp_path: Path) -> None:
    process = start_waiting_run(config, tmp_path / "runs", ignore=True)
    process.send_signal(signal.SIGINT)
    wait_for(process, "Ctrl-C again quits")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (state,) = (tmp_path / "runs").glob("*/state.json")
    assert json.loads(state.read_text(encoding="utf-8"))["status"] == "failed"
