"""What a continued run looks like in its record: one line, with the steps that are made again taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.config import parse_config, write_config
from studio.events import CheckpointSaved, RunFailed, RunResumed
from studio.runner.continuing import find_left_runs, lives_elsewhere, more_epochs
from studio.runner.record import RunRecord
from studio.runs import create_run, holder_of, take_lock
from tests.screenshots.scripted import scripted_events
from tests.ui.test_continuing import left_run


def _continued(lost_from: int = 10, steps: int = 20) -> RunRecord:
    """A run that is cut off after all its steps, goes on from an early checkpoint, and makes the rest again."""
    record = RunRecord()
    events = scripted_events(steps=steps)
    for event in events:
        record.apply(event)
    record.apply(RunFailed(step=steps, sentence="The disk is full."))
    record.apply(RunResumed(step=lost_from, update=lost_from - 7, restarted=True))
    for event in events:
        if getattr(event, "step", 0) > lost_from:
            record.apply(event)
    return record


def test_a_continued_run_is_the_line_that_it_would_have_been() -> None:
    whole = RunRecord()
    for event in scripted_events(steps=20):
        whole.apply(event)
    joined = _continued()
    for key, series in whole.series.items():
        assert series.x.tolist() == joined.series[key].x.tolist(), key
        assert series.y.tobytes() == joined.series[key].y.tobytes(), key
    assert joined.skips == whole.skips
    assert [verdict.step for verdict in joined.verdicts] == [verdict.step for verdict in whole.verdicts]
    assert joined.state.status == "running"
    assert joined.state.sentence == ""
    assert joined.state.seconds == pytest.approx(whole.state.seconds)
    assert [seam.step for seam in joined.seams] == [10]


def test_steps_that_are_lost_are_gone_until_they_are_made_again() -> None:
    record = RunRecord()
    for event in scripted_events(steps=20):
        record.apply(event)
    record.apply(RunResumed(step=10, update=3, restarted=True))
    assert record.series["loss"].x[-1] == 10
    assert (record.state.step, record.state.update, record.state.skipped_steps) == (10, 3, 7)


def test_a_pause_is_no_seam() -> None:
    record = RunRecord()
    for event in [*scripted_events(steps=20), RunResumed(step=20)]:
        record.apply(event)
    assert record.seams == []
    assert record.series["loss"].x[-1] == 20


@pytest.mark.parametrize(
    ("training", "expected"),
    [({"epochs": 1.5}, "training.epochs=3.5"), ({"max_steps": 100}, "training.max_steps=204")],
)
def test_epochs_more_are_said_in_the_unit_of_the_run(tmp_path: Path, training: dict[str, float], expected: str) -> None:
    values = {"model": {"path": "m"}, "data": {"sources": [{"path": "r.jsonl"}]}, "training": training}
    record = RunRecord(create_run(tmp_path, "r", write_config(parse_config(values))))
    for event in scripted_events(steps=20):  # 52 updates an epoch
        record.apply(event)
    assert more_epochs(record, 2.0) == [expected]


def test_other_data_and_versions_are_no_settings(tmp_path: Path) -> None:
    values = {"model": {"path": "m"}, "data": {"sources": [{"path": "r.jsonl"}]}}
    record = RunRecord(create_run(tmp_path, "r", write_config(parse_config(values))))
    changes = {"data": "changed", "versions.torch": "9", "training.epochs": 3.0}
    record.apply(RunResumed(step=0, restarted=True, changes=changes))
    assert record.configs[-1][1].training.epochs == 3.0


def test_runs_that_were_left_are_told_apart(tmp_path: Path) -> None:
    cut, mine, other, done = (left_run(tmp_path, name) for name in ("cut", "mine", "other", "done"))
    take_lock(mine.path)
    take_lock(other.path, holder_of(os.getppid()))
    done.write_state("finished")
    left = find_left_runs(tmp_path)
    assert left.alive == (other,)
    assert [run.folder for run in left.cut_off] == [cut]
    assert (left.cut_off[0].update, left.cut_off[0].checkpoint_update) == (13, 3)
    assert (lives_elsewhere(mine), lives_elsewhere(other)) == ("", "process")


def test_the_newest_checkpoint_stays_known() -> None:
    record = RunRecord()
    for event in [*scripted_events(steps=20), CheckpointSaved(step=20, update=13, path="/c")]:
        record.apply(event)
    assert record.state.checkpoint is not None
    assert record.state.checkpoint.update == 13
