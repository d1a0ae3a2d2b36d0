"""A journal with the steps of a run that was cut off reads as one line."""

from __future__ import annotations

from studio.events import EvaluationCompleted, RunFinished, RunResumed
from studio.runner.series import MetricSeries
from studio.runs import without_lost
from tests.records import step_completed


def test_steps_after_the_checkpoint_are_left_out_once_they_are_made_again() -> None:
    measured = EvaluationCompleted(step=3, update=3, loss=1.0, rows=1, supervised_tokens=4, seconds=1.0)
    before = [step_completed(1, 3.0), step_completed(2, 2.0), step_completed(3, 1.5), measured]
    seam, after = RunResumed(step=2, update=2, restarted=True), [step_completed(3, 1.6), step_completed(4, 1.4)]
    assert without_lost([*before, seam, *after]) == [*before[:2], seam, *after]


def test_a_remedy_and_a_pause_lose_nothing() -> None:
    end = RunFinished(
        status="finished",
        step=2,
        update=2,
        trainable_parameters=1,
        total_parameters=2,
        adapter_bytes=3,
        peak_memory=4,
        seconds=5.0,
    )
    events = [step_completed(1, 3.0), step_completed(2, 2.0), RunResumed(step=1), end]
    assert without_lost(events) == events


def test_what_is_measured_again_at_a_step_takes_the_place_of_what_was() -> None:
    series = MetricSeries()
    for x, y in ((1.0, 5.0), (2.0, 4.0), (2.0, 3.0), (3.0, 2.0)):
        series.append(x, y)
    assert series.x.tolist() == [1.0, 2.0, 3.0]
    assert series.y.tolist() == [5.0, 3.0, 2.0]
