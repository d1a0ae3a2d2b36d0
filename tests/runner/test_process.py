"""A run in a process of its own: the same verbs, the same updates, and no harm when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import pytest

from studio.config import RunConfig, parse_config, write_config
from studio.config.run import override_config
from studio.errors import TrainingError
from studio.events import (
    CheckpointSaved,
    ProgressReported,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StepCompleted,
)
from studio.runner import process
from studio.runner.controller import Controller, Where
from studio.runner.process import Follower, Job, likely_cause, start_process
from studio.runner.record import RunRecord
from studio.runner.state import RunInterrupted, Update
from studio.runs import RunFolder, create_run, read_journal, read_lock
from tests.tiny import save_model, save_rows

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Stands in for the process of a run: it takes over the lock, says that it began, and does what the test says.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
from studio.events import ProgressReported, RunFailed, RunFinished, RunPaused, RunStarted
from studio.runner.process import ProgressFile
from studio.runs import Journal, RunFolder, inherit_lock
folder = RunFolder(Path(json.loads(sys.argv[1])["folder"]))
inherit_lock(folder.path)
journal = Journal(folder.journal)
folder.write_state("running")
progress = ProgressFile(folder.progress)
progress.put(ProgressReported(stage="loading_model", done=3, total=9))
journal.append(RunStarted(run="r", model="m", kind="base", method="lora", precision="fp32", device="cpu", versions={}))
"""


class Watched:
    """A controller, its run, and all that it said."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.record = RunRecord()
        self.updates: list[Update] = []

    def until(self, kind: type, seconds: float = 300.0) -> Any:
        """Poll until an update of this kind has come, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            new = self.controller.poll()
            self.updates += new
            for update in new:
                self.record.apply(update)
            if found := next((update for update in new if isinstance(update, kind)), None):
                return found
            self.controller.join(0.02)
        raise AssertionError(f"no {kind.__name__} in {self.updates}")

    def losses(self) -> list[float]:
        return [update.loss for update in self.updates if isinstance(update, StepCompleted)]


def watch(config: RunConfig, root: Path, where: Where) -> Watched:
    controller = Controller(attended=True)
    controller.start(config, root, where)
    return Watched(controller)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    save_model(tmp_path / "model")
    save_rows(tmp_path / "rows.jsonl")
    return parse_config({
        "model": {"path": str(tmp_path / "model")},
        "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}], "validation_fraction": 0.1},
        "method": {"name": "lora", "rank": 4},
        "precision": {"name": "fp32"},
        "training": {"batch_size": 4, "max_steps": 6, "learning_rate": 1e-2, "device": "cpu"},
        "retention": {"measure": False},
    })  # fmt: skip


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a short script be the process of every run."""

    def replace(script: str) -> None:
        real = process.python_process

        def python_process(module: str, argument: str) -> tuple[list[str], dict[str, str]]:
            (executable, *_), environment = real(module, argument)
            return [executable, "-c", STAND_IN + script, argument], environment

        monkeypatch.setattr(process, "python_process", python_process)

    return replace


@POSIX
def test_a_run_of_its_own_is_paused_found_again_and_ends_with_the_losses_of_a_thread(
    config: RunConfig, tmp_path: Path
) -> None:
    first = watch(config, tmp_path / "own", "process")
    first.controller.pause()  # before the process can listen
    assert first.controller.pausing
    first.until(RunPaused)
    assert first.controller.paused
    folder = first.controller.folder
    assert folder is not None
    with pytest.raises(TrainingError, match="under way"):
        first.controller.start(config, tmp_path / "own")
    first.controller.detach()
    assert not first.controller.running
    assert folder.read_state()["status"] == "paused"

    again = Watched(Controller(attended=True))
    again.controller.attach(RunFolder(folder.path))
    again.until(RunPaused)
    holder = read_lock(folder.path)
    assert holder is not None
    again.controller.resume()
    assert again.until(RunFinished).status == "finished"
    assert any(isinstance(update, ProgressReported) for update in again.updates)
    assert again.controller.join(20)
    assert read_lock(folder.path) is None
    psutil.wait_procs([one for one in psutil.process_iter() if one.pid == holder.process], timeout=20)
    assert not folder.progress.exists()
    assert folder.adapter.is_dir()

    thread = watch(config, tmp_path / "thread", "thread")
    thread.until(RunFinished)
    assert len(thread.losses()) == 6
    assert again.losses() == thread.losses()


@POSIX
def test_a_process_that_is_killed_leaves_the_window_alive_and_its_run_goes_on(
    config: RunConfig, tmp_path: Path
) -> None:
    long = config.training.model_copy(update={"max_steps": 100_000})
    watched = watch(config.model_copy(update={"training": long}), tmp_path, "process")
    watched.controller.checkpoint_now()  # after the first step
    watched.until(CheckpointSaved)
    while len(watched.losses()) < 5:
        watched.until(StepCompleted)
    folder = watched.controller.folder
    assert folder is not None
    holder = read_lock(folder.path)
    assert holder is not None
    assert holder.process != os.getpid()
    os.kill(holder.process, signal.SIGKILL)
    ended = watched.until(RunInterrupted)
    assert (ended.cause, ended.code) == ("killed", -signal.SIGKILL)
    assert watched.controller.join(20)
    assert folder.read_state()["status"] == "interrupted"
    assert watched.record.state.status == "interrupted"
    assert "memory" in watched.record.state.sentence
    with pytest.raises(TrainingError, match="No process"):
        Controller().attach(folder)

    before = {update.step: update.loss for update in watched.updates if isinstance(update, StepCompleted)}
    watched.updates.clear()
    watched.controller.resume_run(folder, until=8, where="process")
    assert watched.until(RunResumed).restarted
    assert watched.until(RunFinished).status == "stopped"
    assert watched.controller.join(20)
    again = {update.step: update.loss for update in watched.updates if isinstance(update, StepCompleted)}
    assert max(again) == 8
    made_twice = before.keys() & again.keys()
    assert made_twice
    assert {step: again[step] for step in made_twice} == {step: before[step] for step in made_twice}


def _rank_1(folder: RunFolder) -> psutil.Process:
    """Return the process that trains beside the one that holds the run."""
    holder = read_lock(folder.path)
    assert holder is not None
    beside = [one for one in psutil.Process(holder.process).parent().children() if one.pid != holder.process]
    return next(one for one in beside if one.environ().get("RANK") == "1")


@POSIX
def test_a_run_on_all_gpus_outlives_the_window_and_the_death_of_a_process(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PER_NODE", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = {"training.device": "auto", "training.max_steps": 100, "training.learning_rate": 1e-3}
    config = override_config(config, {**settings, "method.dropout": 0.0})
    first = watch(config, tmp_path / "gpus", "gpus")
    first.controller.checkpoint_now()
    first.until(CheckpointSaved)
    first.controller.pause()
    first.until(RunPaused)
    folder = first.controller.folder
    assert folder is not None
    again = Watched(Controller(attended=True))
    again.controller.attach(RunFolder(folder.path))
    again.until(RunPaused)
    _rank_1(folder).kill()
    for window in (first, again):
        assert window.until(RunResumed).restarted
        assert not any(isinstance(update, RunFailed | RunInterrupted) for update in window.updates)
    first.controller.pause()
    first.until(RunPaused)
    first.controller.detach()

    again.controller.resume()
    assert again.until(RunFinished).status == "finished"
    assert not any(isinstance(update, RunFailed | RunInterrupted) for update in again.updates)
    assert again.record.state.status == "finished"
    assert again.controller.join(20)
    assert folder.read_state()["status"] == "finished"
    thread = watch(config, tmp_path / "thread", "thread")
    thread.until(RunFinished)
    losses = {update.step: update.loss for update in again.updates if isinstance(update, StepCompleted)}
    assert sorted(losses) == list(range(1, 101))
    assert [losses[step] for step in range(1, 21)] == pytest.approx(thread.losses()[:20], abs=1e-4)


# The process of a run, of which the one with rank 1 fails at its first micro-batch.
FAILS_ALONE = """
import os, runpy
if os.environ["RANK"] == "1":
    from studio.engine.training.loss import SupervisedLoss
    from studio.errors import TrainingError
    def fail(self, *_):
        raise {error}
    SupervisedLoss.__call__ = fail
runpy.run_module("studio.runner.process", run_name="__main__")
"""


@POSIX
@pytest.mark.parametrize(
    ("error", "sentence", "restarts"),
    [
        ("ValueError('a defect')", "ValueError in process 1: a defect", 0),
        ("TrainingError('Process 1 refuses.')", "Process 1 refuses.", 1),
    ],
)
def test_a_process_that_fails_alone_ends_all_and_says_why_and_the_run_can_go_on(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, sentence: str, restarts: int
) -> None:
    real = process.python_process

    def python_process(module: str, argument: str) -> tuple[list[str], dict[str, str]]:
        (executable, *_), environment = real(module, argument)
        return [executable, "-c", FAILS_ALONE.format(error=error), argument], environment

    monkeypatch.setattr(process, "python_process", python_process)
    monkeypatch.setattr(process, "PER_NODE", "2")
    monkeypatch.setattr(process, "RESTARTS", restarts)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    together = override_config(config, {"training.device": "auto"})
    folder = create_run(tmp_path / "runs", "run", write_config(together))
    with start_process(Job(folder=str(folder.path), language="en", each_gpu=True)) as torchrun:
        assert torchrun.wait(300) != 0
    assert folder.read_state()["status"] == "failed"
    (failed,) = [event for event in read_journal(folder.journal) if isinstance(event, RunFailed)]
    assert sentence in failed.sentence

    alone = Controller(attended=True)
    alone.resume_run(folder)
    assert Watched(alone).until(RunFinished).status == "finished"


@POSIX
@pytest.mark.parametrize(
    ("script", "cause", "detail"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", ""),
        ("import faulthandler; faulthandler.enable(); os.kill(os.getpid(), signal.SIGABRT)", "crashed", "Fatal"),
        ("raise MemoryError", "out_of_memory", "MemoryError"),
        ("raise RuntimeError('CUDA error: unspecified launch failure')", "lost_gpu", "CUDA error"),
        ("raise ImportError('no torch')", "not_started", "no torch"),
        ("os._exit(3)", "unknown", ""),
    ],
)
def test_the_likely_cause_of_a_crash_is_named(
    config: RunConfig, tmp_path: Path, stand_in: Callable[[str], None], script: str, cause: str, detail: str
) -> None:
    stand_in(script)
    watched = watch(config, tmp_path, "process")
    ended = watched.until(RunInterrupted)
    assert ended.cause == cause
    assert detail in ended.details
    assert watched.controller.join(20)


# What `torchrun` writes at last. Its own traceback says nothing about the processes.
TORCHRUN_ENDS = """
import os, sys
print("Process 1 refuses.")
print('''Traceback (most recent call last):
  File "torch/distributed/run.py", line 1032, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Root Cause (first observed failure):
  exitcode  : 1 (pid: 11428)''')
sys.exit(1)
"""


def test_the_report_of_torchrun_is_not_taken_for_the_cause(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "run", "")
    with folder.output.open("wb") as output:
        torchrun = subprocess.Popen([sys.executable, "-c", TORCHRUN_ENDS], stdout=output)
    told: SimpleQueue[Update] = SimpleQueue()
    follower = Follower(folder, told, torchrun, from_start=True, restarts=True)
    follower.thread.start()
    follower.thread.join(60)
    assert told.get(timeout=60) == RunInterrupted(cause="unknown", code=1, details="Process 1 refuses.")


def test_a_kill_is_called_want_of_memory_where_the_system_says_so() -> None:
    assert likely_cause(-9, "") == "killed"
    assert likely_cause(-9, "", memory_kills=1) == "out_of_memory"
    assert likely_cause(None, "") == "unknown"
    assert likely_cause(0xC0000005, "") == "crashed"


def test_progress_reaches_the_window_and_a_failure_that_the_journal_lacks_does_too(
    config: RunConfig, tmp_path: Path, stand_in: Callable[[str], None]
) -> None:
    stand_in("time.sleep(0.5); progress.put(RunFailed(step=1, sentence='The disk is full.')); progress.close()")
    watched = watch(config, tmp_path, "process")
    shown = watched.until(ProgressReported)
    assert (shown.stage, shown.done, shown.total) == ("loading_model", 3, 9)
    assert watched.controller.join(30)
    watched.updates += watched.controller.poll()
    assert [getattr(update, "sentence", "") for update in watched.updates][-1] == "The disk is full."


def test_a_process_that_cannot_start_is_a_failed_run_and_a_sentence(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "python_process", lambda *_: ([str(tmp_path / "none")], {}))
    controller = Controller()
    with pytest.raises(TrainingError, match="could not be started"):
        controller.start(config, tmp_path, "process")
    assert not controller.running
    (folder,) = tmp_path.glob("20*")
    assert RunFolder(folder).read_state()["status"] == "failed"
    assert read_lock(folder) is None
