"""The speed of an earlier run is taken only from one that is comparable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.events import EvaluationCompleted, RunFinished, RunStarted, StepCompleted
from studio.runner.speed import MeasuredSpeed, Setup, measured_speed
from studio.runs import Journal, RunFolder, create_run

SETUP = Setup(
    method="lora",
    precision="bf16-mixed",
    base_dtype="bf16",
    device="cpu",
    trainable_parameters=100,
    total_parameters=1100,
)


def step(number: int, tokens: int, seconds: float, *, skipped: bool = False) -> StepCompleted:
    return StepCompleted(
        step=number,
        update=number,
        epoch=0.1,
        loss=1.0,
        learning_rate=1e-4,
        grad_norm=1.0,
        grad_scale=None,
        skipped=skipped,
        tokens=tokens,
        supervised_tokens=tokens,
        micro_batches=1,
        seconds=seconds,
    )


def ended_run(root: Path, label: str = "run", *, device: str = "cpu", finished: bool = True) -> RunFolder:
    """Three slow first updates, then 1,000 tokens in 4 seconds, and a skipped step that counts for nothing."""
    folder = create_run(root, label, "")
    folder.write_state("finished", method="lora", precision="bf16-mixed", base_dtype="bf16")
    with Journal(folder.journal) as journal:
        start = {"run": folder.name, "model": "m", "kind": "chat", "versions": {}}
        journal.append(RunStarted(**start, method="lora", precision="bf16-mixed", device=device))  # type: ignore[arg-type]
        for number in range(1, 4):
            journal.append(step(number, 10, 50.0))
        journal.append(EvaluationCompleted(step=3, update=3, loss=1.0, rows=1, supervised_tokens=9, seconds=1.0))
        journal.append(step(4, 400, 1.0))
        journal.append(step(5, 7, 30.0, skipped=True))
        journal.append(step(6, 600, 3.0))
        if finished:
            journal.append(
                RunFinished(
                    status="finished",
                    step=6,
                    update=5,
                    trainable_parameters=100,
                    total_parameters=1100,
                    adapter_bytes=1,
                    peak_memory=1,
                    seconds=99.0,
                )
            )
    return folder


def test_the_speed_is_that_of_the_updates_after_the_first_ones(tmp_path: Path) -> None:
    folder = ended_run(tmp_path)
    assert measured_speed(tmp_path, SETUP) == MeasuredSpeed(tokens_per_second=250.0, run=folder.name)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "full"},
        {"precision": "fp32"},
        {"base_dtype": "nf4"},
        {"device": "cuda"},
        {"trainable_parameters": 200},
        {"total_parameters": 7000},
    ],
)
def test_a_run_with_another_setup_says_nothing(tmp_path: Path, other: dict[str, object]) -> None:
    ended_run(tmp_path)
    assert measured_speed(tmp_path, replace(SETUP, **other)) is None  # type: ignore[arg-type]


def test_one_gpu_is_as_another(tmp_path: Path) -> None:
    ended_run(tmp_path, device="cuda:1")
    assert measured_speed(tmp_path, replace(SETUP, device="cuda")) is not None


def test_runs_that_did_not_end_or_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    older = ended_run(tmp_path, "a")
    ended_run(tmp_path, "b", finished=False)
    damaged = create_run(tmp_path, "c", "")
    damaged.state.write_text("{")
    cut = ended_run(tmp_path, "d")
    cut.journal.write_bytes(cut.journal.read_bytes()[:-40])
    found = measured_speed(tmp_path, SETUP)
    assert found is not None
    assert found.run == older.name
    assert measured_speed(tmp_path / "nowhere", SETUP) is None
