"""Runs beside each other: only the settings that differ, and figures from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.events import EvaluationCompleted, RunResumed, StepCompleted
from studio.i18n import set_language
from studio.runner.compare import Comparison, compare_runs, figure_rows
from studio.runner.record import RunRecord
from studio.runs import Journal, RunFolder, create_run


def _run(root: Path, options: str, *events: Any) -> RunFolder:
    config = f'[model]\npath = "tiny"\n[[data.sources]]\npath = "rows.jsonl"\n{options}'
    folder = create_run(root, "tiny", config)
    with Journal(folder.journal) as journal:
        for event in events:
            journal.append(event)
    return folder


def _step(step: int, seconds: float) -> StepCompleted:
    return StepCompleted(
        step=step,
        update=step,
        epoch=0.1,
        loss=float(step),
        learning_rate=1e-4,
        grad_norm=1.0,
        grad_scale=None,
        skipped=False,
        tokens=100,
        supervised_tokens=60,
        micro_batches=1,
        seconds=seconds,
    )


def _validation(step: int, loss: float) -> EvaluationCompleted:
    return EvaluationCompleted(step=step, update=step, loss=loss, rows=2, supervised_tokens=10, seconds=0.1)


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    steps = [_step(step, 9.0 if step <= 3 else 0.5) for step in range(1, 6)]
    losses = [_validation(0, 3.0), _validation(3, 2.0), _validation(4, float("nan")), _validation(5, 2.5)]
    trained = _run(tmp_path, "[training]\nseed = 7\n", *sorted([*steps, *losses], key=lambda event: event.step))
    resumed = RunResumed(step=0, changes={"training.learning_rate": 0.01})
    changed = _run(tmp_path, '[method]\nname = "full"\n', resumed)
    return compare_runs([RunRecord.of_folder(run) for run in (trained, changed)])


def test_only_the_settings_that_differ_are_told_in_the_order_of_the_runs(compared: Comparison) -> None:
    assert compared.settings["method.name"] == ["lora", "full"]
    assert compared.settings["training.seed"][0] == 7
    assert compared.settings["method.rank"][1] is None
    assert compared.settings["training.learning_rate"][1] == 0.01
    assert not {"model.path", "data.sources[0].path"} & set(compared.settings)


def test_figures_are_those_of_the_journal(compared: Comparison) -> None:
    trained, empty = compared.runs
    losses = (trained.first_validation_loss, trained.last_validation_loss, trained.best_validation_loss)
    assert losses == (3.0, 2.5, 2.0)
    assert (trained.updates, trained.training_loss) == (5, 3.0)
    assert trained.tokens_per_second == 200.0  # without the first three steps
    assert (empty.training_loss, empty.best_validation_loss, empty.tokens_per_second, empty.retention) == (None,) * 4


def test_the_status_is_said_in_words(compared: Comparison) -> None:
    set_language("zh_CN")
    assert figure_rows(compared)[0] == ["状态", "准备中", "准备中"]
