"""`resume`: what it hands to the engine, what it says of the checkpoint, and what a refusal leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ConfigError, ConsentNeeded, NotResumed
from studio.events import EvaluationCompleted, RunResumed
from studio.runs import RunFolder
from tests.cli.conftest import finish

Resume = Callable[..., None]


@pytest.fixture
def run(command: Callable[..., Any], config: Path, tmp_path: Path, short_run: None) -> RunFolder:
    """A run that is finished."""
    return RunFolder(Path(command("train", config, "--runs", tmp_path / "runs").out.strip()))


def _install(monkeypatch: pytest.MonkeyPatch, resume: Resume) -> None:
    monkeypatch.setattr(sys.modules["studio.engine.training.run"], "resume", resume, raising=False)


def test_it_goes_on_with_the_changes_and_says_what_it_passed_over(
    command: Callable[..., Any], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def resume(folder: RunFolder, control: Any, emit: Callable[[Any], None], **options: Any) -> None:
        asked.update(options)
        skipped = [{"name": "step-000003", "reason": "damaged"}]
        emit(RunResumed(step=2, update=1, restarted=True, changes={"machine.threads": "4"}, skipped=skipped))
        emit(EvaluationCompleted(step=3, update=2, loss=1.5, rows=2, supervised_tokens=10, seconds=0.1))
        finish(folder, emit, "finished")

    _install(monkeypatch, resume)
    answer = command(
        "resume",
        run.path,
        "--set",
        "training.epochs=2",
        "--set",
        "training.seed=0",
        "--until",
        9,
        "--consent",
        "--json",
    )
    assert answer.status == 0
    assert asked == {"changes": ["training.epochs=2", "training.seed=0"], "until": 9, "consent": True}
    assert (answer.json["run"], answer.json["status"]) == (str(run.path), "finished")
    assert answer.json["validation_loss"] == {"first": 3.0, "last": 1.5}  # the first is of before
    assert "after update 1 (step 2)" in answer.err
    assert "step-000003 was passed over: a file is damaged" in answer.err
    assert "the number of threads (4)" in answer.err


def test_a_refusal_is_one_sentence_and_leaves_the_run_as_it_was(
    command: Callable[..., Any], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resume(folder: RunFolder, control: Any, emit: Callable[[Any], None], **options: Any) -> None:
        raise NotResumed("This run has nothing left to do.") from ConfigError("")

    _install(monkeypatch, resume)
    journal = run.journal.read_bytes()
    answer = command("resume", run.path)
    assert answer.status == 1
    assert "This run has nothing left to do." in answer.err
    assert run.read_state()["status"] == "finished"
    assert run.journal.read_bytes() == journal


def test_changed_files_are_gone_on_with_by_consent(
    command: Callable[..., Any], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resume(folder: RunFolder, control: Any, emit: Callable[[Any], None], *, consent: bool, **_: Any) -> None:
        if not consent:
            raise NotResumed("The rows have changed.") from ConsentNeeded("")
        finish(folder, emit, "finished")

    _install(monkeypatch, resume)
    refused = command("resume", run.path)
    assert refused.status == 1
    assert "The rows have changed.\nTo go on with them as they are, add --consent." in refused.err
    assert command("resume", run.path, "--consent").status == 0


def test_what_is_no_run_is_said(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("resume", tmp_path)
    assert answer.status == 1
    assert "is not a run folder" in answer.err
