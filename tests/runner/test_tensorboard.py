"""A run's journal as event files: read back by TensorBoard, they hold what the journal holds."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from studio.errors import ExportError
from studio.events import EvaluationCompleted, RunResumed, StepCompleted
from studio.runner.tensorboard import export_tensorboard, scalars
from studio.runs import Journal, RunFolder
from tests.screenshots.scripted import scripted_events, scripted_runs
from tests.ui.plots.conftest import step_event


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = scripted_runs(tmp_path)[0]
    with Journal(folder.journal) as journal:
        for event in scripted_events():
            journal.append(event)
    return folder


def test_the_event_files_hold_every_step_of_the_journal(run: RunFolder) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    place = export_tensorboard(run)
    assert place == run.path / "tensorboard"
    assert export_tensorboard(run) == place  # the earlier one is replaced
    (file,) = place.iterdir()
    found = [event for event in reading.LegacyEventFileLoader(str(file)).Load() if event.summary.value]
    losses = {e.step: v.simple_value for e in found for v in e.summary.value if v.tag == "train/loss"}
    steps = [event for event in scripted_events() if isinstance(event, StepCompleted)]
    assert list(losses) == [event.step for event in steps]
    assert list(losses.values()) == pytest.approx([event.loss for event in steps], nan_ok=True)
    checked = [e.step for e in found for v in e.summary.value if v.tag == "validation/loss"]
    assert checked == [event.step for event in scripted_events() if isinstance(event, EvaluationCompleted)]


def test_what_was_not_measured_is_left_out_and_what_is_not_finite_is_kept() -> None:
    found = dict(scalars(step_event(1, loss=math.nan, grad_scale=None)))
    assert math.isnan(found["train/loss"])
    assert "train/grad_scale" not in found
    assert found["train/tokens_per_second"] == 200
    assert not dict(scalars(RunResumed(step=1, update=1, restarted=False, changes={})))


def test_without_the_package_one_sentence_says_what_to_install(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "tensorboard.compat.proto.event_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExportError, match="pip install tensorboard"):
        export_tensorboard(run)
    assert not [path for path in run.path.iterdir() if "tensorboard" in path.name]


def test_other_files_are_never_replaced(run: RunFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("")
    with pytest.raises(ExportError, match="Choose another place"):
        export_tensorboard(run, mine)
    assert (mine / "thesis.tex").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_a_strangers_run_is_replaced_and_not_what_it_leads_to(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.runner.tensorboard._write", lambda folder, *_: (folder / "new").touch())
    other = tmp_path / "other"
    other.mkdir()
    (other / "events.out.tfevents.1").touch()
    (run.path / "tensorboard").symlink_to(other)
    place = export_tensorboard(run)
    assert not place.is_symlink()
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in other.iterdir()] == ["events.out.tfevents.1"]
