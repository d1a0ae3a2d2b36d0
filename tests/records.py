"""Events and records of runs that never were."""

from __future__ import annotations

from studio.events import RunFinished, StepCompleted
from studio.runner.record import RunRecord


def step_completed(step: int, loss: float) -> StepCompleted:
    """Return an attempted step that was applied."""
    return StepCompleted(
        step=step,
        update=step,
        epoch=1.0,
        loss=loss,
        learning_rate=1e-3,
        grad_norm=1.0,
        grad_scale=None,
        skipped=False,
        tokens=8,
        supervised_tokens=4,
        micro_batches=1,
        seconds=1.0,
    )


def stopped_record(*losses: float) -> RunRecord:
    """Return the record of a run that was stopped after these losses, one a step."""
    record = RunRecord()
    for number, loss in enumerate(losses, start=1):
        record.apply(step_completed(number, loss))
    record.apply(
        RunFinished(
            status="stopped",
            step=len(losses),
            update=len(losses),
            trainable_parameters=1,
            total_parameters=2,
            adapter_bytes=1,
            peak_memory=1,
            seconds=1.0,
        )
    )
    return record
