"""A run's record is grown by its events alone, so a finished run looks like a live one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from studio.events import (
    DataPrepared,
    EvaluationCompleted,
    MemoryMeasured,
    ProgressReported,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    to_json,
)
from studio.runner.record import RunRecord
from studio.runner.state import LogLine
from studio.runs import Journal, create_run


def _step(step: int, update: int, **changes: object) -> StepCompleted:
    values: dict[str, object] = {
        "step": step,
        "update": update,
        "epoch": 0.1,
        "loss": 2.0 / step,
        "learning_rate": 1e-4,
        "grad_norm": 0.5,
        "grad_scale": 1024.0,
        "skipped": False,
        "tokens": 100,
        "supervised_tokens": 60,
        "micro_batches": 1,
        "seconds": 0.5,
    }
    return StepCompleted(**(values | changes))  # type: ignore[arg-type]


EVENTS: list[RunEvent] = [
    RunStarted(
        run="r",
        model="tiny",
        kind="chat",
        method="lora",
        precision="fp16-mixed",
        device="cpu",
        versions={},
    ),
    DataPrepared(
        train_rows=80,
        validation_rows=4,
        general_rows=0,
        skipped_rows=3,
        skipped=[{"code": "empty_answer", "values": {}, "count": 3}],
        tokens=8000,
        supervised_tokens=4000,
        longest=120,
        planned_updates=10,
    ),
    EvaluationCompleted(step=0, update=0, loss=3.0, rows=4, supervised_tokens=50, seconds=1.0),
    _step(1, 0, loss=3.1, grad_norm=math.inf, grad_scale=2048.0, skipped=True),
    _step(2, 1),
    _step(3, 2),
    EvaluationCompleted(step=3, update=2, loss=2.5, rows=4, supervised_tokens=50, seconds=1.0),
]
END = RunFinished(
    status="finished",
    step=3,
    update=2,
    trainable_parameters=10,
    total_parameters=100,
    adapter_bytes=40,
    peak_memory=1,
    seconds=9.0,
)


def _record(*events: object) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.apply(event)  # type: ignore[arg-type]
    return record


def test_the_state_follows_the_events() -> None:
    state = _record(*EVENTS).state
    assert (state.status, state.step, state.update, state.skipped_steps) == ("running", 3, 2, 1)
    assert (state.first_validation_loss, state.validation_loss) == (3.0, 2.5)
    assert state.tokens_per_second == pytest.approx(200.0)
    assert state.eta_seconds == pytest.approx(8 * 1.5 / 2)  # a skipped step costs time too


def test_no_step_is_lost_and_a_skipped_one_is_marked() -> None:
    record = _record(*EVENTS)
    assert record.series["loss"].x.tolist() == [1, 2, 3]
    assert record.series["grad_norm"].y[0] == math.inf
    assert record.series["grad_scale"].y.tolist() == [2048.0, 1024.0, 1024.0]
    assert record.series["validation"].x.tolist() == [0, 3]
    assert record.skips == [1]


def test_without_loss_scaling_there_is_no_scale_to_draw() -> None:
    assert len(_record(_step(1, 1, grad_scale=None)).series["grad_scale"]) == 0


def test_pause_failure_progress_and_log_are_shown() -> None:
    record = _record(*EVENTS, RunPaused(step=3))
    assert record.state.status == "paused"
    record.apply(RunResumed(step=3))
    assert record.state.status == "running"
    record.apply(ProgressReported(stage="evaluating", done=1, total=2))
    assert (record.state.stage, record.state.done, record.state.total) == ("evaluating", 1, 2)
    record.apply(LogLine("hello"))
    assert list(record.log) == ["hello"]
    record.apply(RunFailed(step=3, sentence="The disk is full."))
    assert (record.state.status, record.state.sentence, record.state.ended) == ("failed", "The disk is full.", True)


def test_the_precision_is_the_one_that_the_run_went_on_with() -> None:
    record = _record(*EVENTS, RunPaused(step=3, because="underflow"))
    assert (record.state.precision, record.state.compute) == ("fp16-mixed", "fp16")
    record.apply(RunResumed(step=3, changes={"precision.name": "bf16-mixed"}))
    assert (record.state.precision, record.state.compute) == ("bf16-mixed", "bf16")
    assert [record.compute_at(step) for step in (1, 3, 4)] == ["fp16", "fp16", "bf16"]


def test_what_was_changed_while_it_ran_adds_up_in_the_configuration(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "r", '[model]\npath = "m"\n[[data.sources]]\npath = "d"\n')
    record = RunRecord(folder)
    for step, changes in (
        (2, {"training.learning_rate": 3e-4}),
        (4, {"rows left out": [{"source": "d", "number": 1, "tokens": 3}]}),
        (5, {}),
        (7, {"precision.name": "bf16-mixed", "precision.stochastic_rounding": False}),
    ):
        record.apply(RunResumed(step=step, changes=changes))
    found = [(step, config.training.learning_rate, config.precision.name) for step, config in record.configs]
    assert found == [(0, 2e-4, "auto"), (2, 3e-4, "auto"), (7, 3e-4, "bf16-mixed")]


# Twice as many as are taken in together, with one that is written twice, skipped ones, and values that are not known.
MANY: list[RunEvent] = [
    _step(step, step, seconds=step % 3 / 2, grad_scale=None if step % 5 else 8.0, skipped=step % 7 == 0, loss=1 / step)
    for step in [4, *range(4, 2003)]
]


@pytest.mark.parametrize("events", [EVENTS, [*EVENTS, *MANY]], ids=["short", "long"])
@pytest.mark.parametrize("end", [END, None], ids=["ended", "under way"])
def test_a_reopened_run_equals_the_live_one(tmp_path: Path, events: list[RunEvent], end: RunEvent | None) -> None:
    folder = create_run(tmp_path, "r", "")
    events = [*events, end] if end else events
    folder.journal.write_text("".join(f"{to_json(event)}\n" for event in events))
    folder.write_state("finished" if end else "running")
    live, reopened = _record(*events), RunRecord.of_folder(folder)
    assert (reopened.state, reopened.skips, reopened.version) == (live.state, live.skips, live.version)
    for key, series in live.series.items():
        assert series.x.tolist() == reopened.series[key].x.tolist()
        assert series.y.tolist() == reopened.series[key].y.tolist()


def test_a_run_that_was_cut_off_shows_the_state_it_left(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "r", "")
    with Journal(folder.journal) as journal:
        for event in EVENTS:
            journal.append(event)
    folder.write_state("failed", error="The power went.")
    record = RunRecord.of_folder(folder)
    assert (record.state.status, record.state.sentence) == ("failed", "The power went.")


def test_a_validation_loss_that_is_no_number_is_not_what_later_ones_are_compared_with() -> None:
    record = RunRecord()
    for step, loss in enumerate((math.nan, 2.5, 2.0)):
        record.apply(EvaluationCompleted(step=step, update=step, loss=loss, rows=4, supervised_tokens=9, seconds=0.1))
    assert (record.state.first_validation_loss, record.state.validation_loss) == (2.5, 2.0)


def test_the_time_counts_from_the_start_of_the_run() -> None:
    record = RunRecord()
    loaded = {"rows": 1, "length": 8, "peak": 1, "available": 2, "micro_batch_tokens": 8, "recompute": False}
    record.apply(MemoryMeasured(seconds=12.0, **loaded))  # type: ignore[arg-type]
    record.apply(_step(1, 1))
    assert record.state.seconds == 12.5
