"""Whole runs that are stopped, cut off, damaged, changed or trained on, and go on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import read_config
from studio.engine.training import checkpoint, resume
from studio.errors import ConfigError, ConsentNeeded, NotResumed, TrainingError
from studio.events import (
    CheckpointFailed,
    CheckpointSaved,
    EvaluationCompleted,
    NumericsSampled,
    OverflowDiagnosed,
    ProgressReported,
    RetentionMeasured,
    RunEvent,
    RunFinished,
    RunResumed,
    StepCompleted,
    to_json,
)
from studio.runs import RunFolder
from tests.engine.training.trained import LORA, Trained, checkpoint_every_update
from tests.tiny import save_model, save_rows

QUIET: dict[str, Any] = {"retention": {"measure": False}, "numerics": {"record": False}}
HALF, WHOLE = 4, 8
TRAINING = {"max_steps": WHOLE, "evaluate_every": 3}
# What of a step follows from the state; times do not.
NUMBERS = ("step", "update", "epoch", "loss", "learning_rate", "grad_norm", "grad_scale", "skipped", "tokens")


def _numbers(events: list[RunEvent]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What was computed, by the kind of event and its step; what was made twice counts as it was made last."""
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for event in events:
        if isinstance(event, StepCompleted):
            found["step", event.step] = tuple(getattr(event, name) for name in NUMBERS)
        elif isinstance(event, EvaluationCompleted):
            found["validation", event.step] = event.loss, event.rows
        elif isinstance(event, RetentionMeasured):
            found["retention", event.step] = event.perplexity, event.base_perplexity, event.kl, event.tokens
    return found


def _end(done: Trained) -> checkpoint.Snapshot:
    return checkpoint.read(done.folder.list_checkpoints()[0])


def _differences(resumed: Trained, whole: Trained) -> list[str]:
    """What is not the same bit for bit: computed numbers, the state at the end, and what is said of the run."""
    ours, theirs = _end(resumed), _end(whole)
    said, wanted_said = (done.folder.read_state() for done in (resumed, whole))
    first, wanted_first = ((end.run["retention"] or {}).get("first") for end in (ours, theirs))
    same = {
        "numbers": _numbers(resumed.events) == _numbers(whole.events),
        "scaler": ours.scaler == theirs.scaler,
        "position": ours.position == theirs.position,
        "state.json": said["validation_loss"] == wanted_said["validation_loss"],
        "retention": _measured(first) == _measured(wanted_first),
    }
    for name, found, wanted in (
        ("trained", ours.trained, theirs.trained),
        ("optimizer", ours.optimizer, theirs.optimizer),
    ):
        same[name] = found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)
    return [name for name, equal in same.items() if not equal]


def _measured(look: dict[str, Any] | None) -> Any:
    """A measurement of retention without its times."""
    return look and (look["loss"], look["kept"]["update"], look["kept"]["perplexity"], look["kept"]["kl"])


def _copy_of(done: Trained, name: str) -> Trained:
    """The same run in a folder of its own."""
    copy = object.__new__(Trained)
    copy.__dict__ |= done.__dict__
    place = done.folder.path.with_name(name)
    shutil.copytree(done.folder.path, place)
    copy.folder, copy.events = RunFolder(place), list(done.events)
    return copy


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"method": LORA | {"dropout": 0.2}, "data": {"mixing": "shuffle"}}, id="dropout, shuffled"),
        pytest.param(
            {"data": {"mixing": "alternate"}, "training": {"optimizer": "adamw-8bit"}}, id="alternating, 8 bit"
        ),
        pytest.param(
            {"data": {"mixing": "blocks", "block_rows": 4}, "training": {"optimizer": "adafactor"}}, id="blocks"
        ),
        pytest.param({"precision": {"name": "bf16-pure", "stochastic_rounding": True}}, id="stochastic rounding"),
    ],
)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, sections: dict[str, Any]) -> None:
    general = {"path": str(save_rows(tmp_path / "general.jsonl", 12)), "role": "general"}
    rows = {"path": str(save_rows(tmp_path / "rows.jsonl"))}
    save_model(tmp_path / "model")
    tables = QUIET | sections
    tables["data"] = {"sources": [rows, general], "replay_ratio": 0.3} | sections.get("data", {})
    tables["training"] = TRAINING | sections.get("training", {})
    whole = Trained(tmp_path, tables).go(token_budget=100)
    resumed = Trained(tmp_path, tables).go(token_budget=100, until=HALF).resume()
    assert _differences(resumed, whole) == []


SCALED = {
    **QUIET,
    "retention": {"measure": True, "stop_below": 0.01},
    "method": LORA | {"dropout": 0.2},
    "precision": {"name": "fp16-mixed", "initial_scale": 1024.0, "growth_interval": 3},
    "training": TRAINING,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run in fp16 that was stopped half-way, with rows left out."""
    begun = Trained(tmp_path_factory.mktemp("begun"), SCALED).go(token_budget=100, until=1)
    _edit(begun, lambda run: run["loop"].update(left_out=[[str(begun.model.with_name("rows.jsonl")), 3]]))
    return begun.resume(until=HALF)


@pytest.fixture(scope="module")
def unbroken(begun: Trained) -> Trained:
    return _copy_of(begun, "unbroken").resume()


def _edit(done: Trained, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the newest checkpoint anew, with something changed in what it says of the run."""
    place = done.folder.list_checkpoints()[0]
    snapshot = checkpoint.read(place)
    change(snapshot.run)
    checkpoint.write(dataclasses.replace(snapshot, best=None), place)


def test_left_out_rows_the_scale_and_retention_go_on(begun: Trained, unbroken: Trained) -> None:
    """The whole run has been stopped twice already; a third time, in the middle of a streak, changes nothing."""
    again = _copy_of(begun, "again").resume(until=HALF + 1).resume()
    assert _differences(again, unbroken) == []
    assert again.folder.read_state()["validation_loss"] == unbroken.folder.read_state()["validation_loss"]
    kept = [place.name for place in again.folder.list_checkpoints()]
    assert kept[0] == f"step-{WHOLE:06d}"


def _without(name: str) -> Callable[[checkpoint.Snapshot], checkpoint.Snapshot]:
    """Return what makes a snapshot forget one state."""

    def forget(snapshot: checkpoint.Snapshot) -> checkpoint.Snapshot:
        part, _, key = name.partition("/")
        if part == "trained":
            return dataclasses.replace(snapshot, trained={n: torch.zeros_like(t) for n, t in snapshot.trained.items()})
        if part == "optimizer":
            left = {n: t if n.partition(".")[2] != key else torch.zeros_like(t) for n, t in snapshot.optimizer.items()}
            return dataclasses.replace(snapshot, optimizer=left)
        if part == "scaler":
            assert snapshot.scaler is not None
            return dataclasses.replace(snapshot, scaler=snapshot.scaler | {key: 0 if key == "good_updates" else 64.0})
        if part == "position":
            return dataclasses.replace(snapshot, position=snapshot.position | {key: 0})
        run = json.loads(json.dumps(snapshot.run))
        table = run[part] if key else run
        nothing: Mapping[str, Any] = {"left_out": [], "measured_at": -1, "micro_batch_tokens": 10_000, "losses": EMPTY}
        table[key or part] = nothing.get(key or part, 0)
        return dataclasses.replace(snapshot, run=run)

    return forget


EMPTY = {"training": None, "validation": [], "retention": None}


@pytest.mark.parametrize(
    "name",
    [
        "trained",
        "optimizer/step",
        "optimizer/exp_avg",
        "optimizer/exp_avg_sq",
        "scaler/scale",
        "scaler/good_updates",
        "position/step",
        "position/update",
        "position/batch",
        "micro_batch_tokens",
        "loop/left_out",
        "losses",
        "retention",
    ],
)
def test_no_state_may_be_dropped(name: str, begun: Trained, unbroken: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting any one of them shows in what the run computes, says or keeps."""
    newest, forget = resume._newest_valid, _without(name)

    def forgetful(folder: RunFolder) -> tuple[checkpoint.Snapshot | None, list[dict[str, str]]]:
        snapshot, skipped = newest(folder)
        assert snapshot is not None
        return forget(snapshot), skipped

    monkeypatch.setattr(resume, "_newest_valid", forgetful)
    forgot = _copy_of(begun, f"without-{name.replace('/', '-')}").resume()
    assert _differences(forgot, unbroken) != []


FILES = (checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE, checkpoint.MANIFEST)


def _two_checkpoints(tmp_path: Path) -> Trained:
    return Trained(tmp_path, QUIET | {"training": TRAINING}).go(until=3).resume(until=HALF)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run with checkpoints of two steps."""
    return _two_checkpoints(tmp_path_factory.mktemp("twice"))


@pytest.mark.parametrize("how", ["flipped", "missing", "gone"])
@pytest.mark.parametrize("name", FILES)
def test_one_byte_of_any_file_makes_it_take_the_checkpoint_before(twice: Trained, name: str, how: str) -> None:
    damaged = _copy_of(twice, f"{name}-{how}")
    newest, before = damaged.folder.list_checkpoints()[:2]
    content = bytearray((newest / name).read_bytes())
    for place in {0, len(content) // 2, len(content) - 1}:
        changed = bytes(content)
        if how == "flipped":
            changed = changed[:place] + bytes([changed[place] ^ 1]) + changed[place + 1 :]
        elif how == "missing":
            changed = changed[:place] + changed[place + 1 :]
        (newest / name).write_bytes(changed)
        if how == "gone":
            (newest / name).unlink()
        snapshot, skipped = resume._newest_valid(damaged.folder)
        assert snapshot is not None
        assert f"step-{snapshot.position['step']:06d}" == before.name
        assert [one["name"] for one in skipped] == [newest.name]
        assert skipped[0]["reason"] in ("damaged", "incomplete")


def test_what_was_skipped_is_told_and_the_steps_are_made_again(twice: Trained, tmp_path: Path) -> None:
    damaged = _copy_of(twice, "told")
    newest = damaged.folder.list_checkpoints()[0]
    (newest / checkpoint.WEIGHTS).write_bytes(b"")
    half = newest.with_name(f".step-{HALF + 1:06d}.tmp")
    half.mkdir()
    whole = _copy_of(twice, "whole").resume()
    before = len(damaged.events)
    damaged.resume()
    told = next(event for event in damaged.events[before:] if isinstance(event, RunResumed))
    assert (told.step, told.update, told.restarted) == (3, 3, True)
    assert {(one["name"], one["reason"]) for one in told.skipped} == {
        (newest.name, "damaged"),
        (half.name.strip(".").removesuffix(".tmp"), "half"),
    }
    assert _differences(damaged, whole) == []
    assert all(checkpoint.read(place) for place in damaged.folder.list_checkpoints())


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    whole = Trained(tmp_path, QUIET | {"training": TRAINING}).go()
    cut_off = Trained(tmp_path, QUIET | {"training": TRAINING})
    cut_off.resume()
    assert cut_off.of(RunResumed)[0].step == 0
    assert _differences(cut_off, whole) == []


def test_where_every_checkpoint_is_damaged_the_run_stays_as_it_is(twice: Trained) -> None:
    damaged = _copy_of(twice, "all-damaged")
    for place in damaged.folder.list_checkpoints():
        (place / checkpoint.STATE).write_text("{}")
    before = damaged.folder.read_state()
    with pytest.raises(NotResumed, match=r"No checkpoint of .* is whole"):
        damaged.resume()
    assert damaged.folder.read_state()["status"] == before["status"] == "stopped"


def test_a_checkpoint_of_an_earlier_version_goes_on(twice: Trained) -> None:
    """It has neither a format's number nor anything of the run but scaler and position."""
    whole, earlier = _copy_of(twice, "of-now").resume(), _copy_of(twice, "earlier")
    for place in earlier.folder.list_checkpoints():
        checkpoint.write(dataclasses.replace(checkpoint.read(place), run={}), place)
        state = json.loads((place / checkpoint.STATE).read_text())
        (place / checkpoint.STATE).write_text(json.dumps({key: state[key] for key in ("scaler", "position")}) + "\n")
        files = {name: checkpoint._describe(place / name) for name in FILES[:-1]}
        (place / checkpoint.MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n")
    earlier.resume()
    assert _differences(earlier, whole) in ([], ["state.json"])  # it does not know the losses before


def test_a_run_that_fell_below_its_bound_needs_a_lower_one(tmp_path: Path) -> None:
    sections = {"numerics": QUIET["numerics"], "retention": {"stop_below": 0.999999}}
    training = TRAINING | {"learning_rate": 0.3, "evaluate_every": 2}
    done = Trained(tmp_path, sections | {"training": training}).go()
    assert done.of(RunFinished)[-1].update < WHOLE
    with pytest.raises(NotResumed, match=r"retention\.stop_below"):
        done.resume()
    done.resume("retention.stop_below=0")
    assert done.of(RunFinished)[-1].update == WHOLE


def test_a_checkpoint_of_a_later_version_is_refused(twice: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    later = _copy_of(twice, "later")
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    _edit(later, lambda run: None)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(NotResumed, match="later version"):
        later.resume()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("method.rank=8", r"method\.rank cannot change within a run"),
        ("training.batch_size=2", r"training\.batch_size cannot change"),
        ("training.seed=5", r"training\.seed cannot change"),
        ("training.max_steps=4", "has applied all of its 4 updates"),
        ("training.learning_speed=4", "is not a setting"),
    ],
)
def test_what_cannot_change_is_refused_and_nothing_is_touched(twice: Trained, change: str, words: str) -> None:
    refused = _copy_of(twice, f"refused-{change[:14]}")
    before = {file: file.read_bytes() for file in refused.folder.adapter.iterdir()}
    with pytest.raises(NotResumed, match=words) as caught:
        refused.resume(change)
    assert isinstance(caught.value.__cause__, ConfigError)
    assert refused.folder.read_state()["status"] == "stopped"
    assert {file: file.read_bytes() for file in refused.folder.adapter.iterdir()} == before


def test_a_change_is_listed_and_kept_in_the_checkpoints_and_not_in_the_configuration(twice: Trained) -> None:
    changed = _copy_of(twice, "changed").resume("training.learning_rate=0.005", until=HALF + 1).resume()
    first, second = changed.of(RunResumed)[-2:]
    assert first.changes == {"training.learning_rate": 0.005}
    assert second.changes == {}
    assert _end(changed).run["config"]["training"]["learning_rate"] == 0.005
    assert read_config(changed.folder.config).training.learning_rate == 1e-2


@pytest.mark.parametrize("what", ["base", "data"])
def test_another_base_or_other_data_need_consent(tmp_path: Path, what: str) -> None:
    done = Trained(tmp_path, QUIET | {"training": TRAINING}).go(until=2)
    if what == "base":
        save_model(done.model, seed=1)
    else:
        save_rows(tmp_path / "rows.jsonl", 30)
    with pytest.raises(NotResumed, match="no longer those that this run was trained on") as refused:
        done.resume()
    assert isinstance(refused.value.__cause__, ConsentNeeded)
    assert done.folder.read_state()["status"] == "stopped"
    done.resume(consent=True)
    assert done.of(RunResumed)[-1].changes == {what: "changed"}
    assert done.of(RunFinished)[-1].update == WHOLE


def test_other_threads_are_listed(twice: Trained) -> None:
    moved = _copy_of(twice, "moved")
    _edit(moved, lambda run: run["environment"].update({"machine.threads": "64", "versions.torch": "2.0"}))
    moved.resume(until=HALF + 1)
    assert moved.of(RunResumed)[-1].changes == {
        "machine.threads": str(torch.get_num_threads()),
        "versions.torch": torch.__version__,
    }


def test_a_finished_run_is_trained_on(tmp_path: Path) -> None:
    """Two epochs more: on the longer schedule, from the rate that it has there."""
    done = Trained(tmp_path, QUIET | {"training": {"max_steps": None, "epochs": 1.0}}).go()
    first = done.of(RunFinished)[-1].update
    with pytest.raises(NotResumed, match="has applied all of its"):
        done.resume()
    assert done.folder.read_state()["status"] == "finished"
    done.resume("training.epochs=2")
    assert done.of(RunFinished)[-1].update == 2 * first
    whole = Trained(tmp_path, QUIET | {"training": {"max_steps": None, "epochs": 2.0}}).go()
    assert done.steps[-1].learning_rate == whole.steps[-1].learning_rate
    assert [step.step for step in done.steps] == [step.step for step in whole.steps]


def test_a_new_run_starts_from_what_another_has_trained(tmp_path: Path) -> None:
    first = Trained(tmp_path, QUIET | {"training": {"max_steps": 6}}).go()
    data = {"sources": [{"path": str(save_rows(tmp_path / "other.jsonl", 30))}], "validation_fraction": 0.1}
    table = {"start_from": str(first.folder.path), "max_steps": 2, "learning_rate": 1e-9}
    second = Trained(tmp_path, QUIET | {"training": table, "data": data}).go()
    for name, weight in first.weights.items():
        torch.testing.assert_close(second.weights[name], weight, rtol=0, atol=1e-7)
    assert [step.step for step in second.steps] == [1, 2]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"method": LORA | {"rank": 8}}, "other shapes"),
        ({"method": {"name": "ia3"}}, "was trained with lora, and this run trains with ia3"),
    ],
)
def test_another_method_or_other_shapes_cannot_start_from_it(
    twice: Trained, tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    tables = QUIET | sections | {"training": {"start_from": str(twice.folder.path), "max_steps": 2}}
    with pytest.raises(TrainingError, match=words):
        Trained(twice.model.parent, tables).go()


def test_a_checkpoint_is_saved_when_it_is_asked_for(tmp_path: Path) -> None:
    done = Trained(tmp_path, QUIET | {"training": TRAINING, "checkpoints": {"every_minutes": 0}})
    done.control.request_checkpoint()
    done.go()
    assert [event.update for event in done.of(CheckpointSaved)] == [1, WHOLE]


def test_a_run_that_was_cut_off_after_its_last_update_comes_to_its_end(tmp_path: Path) -> None:
    done = Trained(tmp_path, QUIET).go()
    result = done.weights
    shutil.rmtree(done.folder.adapter)
    done.folder.write_state("interrupted")
    done.resume()
    assert done.folder.read_state()["status"] == "finished"
    assert all(torch.equal(result[name], value) for name, value in done.weights.items())


def test_where_there_is_no_memory_for_a_copy_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    done = Trained(tmp_path, QUIET | {"training": {"max_steps": 2}})
    done.control.request_checkpoint()
    monkeypatch.setattr(checkpoint, "take", full)
    done.go()
    assert [event.update for event in done.of(CheckpointFailed)] == [1, 2]
    assert done.of(RunFinished)[-1].status == "finished"


SEEN = NumericsSampled, OverflowDiagnosed


def test_what_a_run_sees_after_it_was_killed_is_what_the_unbroken_run_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_update(monkeypatch)
    sections = {
        # The scale doubles at every second update: a search, growths that fail, and overflows that become chronic.
        "precision": {"name": "fp16-mixed", "initial_scale": 2.0**26, "growth_interval": 2},
        "numerics": {"every": 5},
        "training": {"max_steps": 20},
        "retention": QUIET["retention"],
    }
    copies: list[Trained] = []
    whole = Trained(tmp_path, sections)

    def killed(event: RunEvent | ProgressReported) -> None:
        """What is on the disk when a checkpoint has been saved is what a killed process leaves."""
        Trained.emit(whole, event)
        if isinstance(event, CheckpointSaved) and event.step >= 27 and not copies:
            copies.append(_copy_of(whole, "killed"))

    monkeypatch.setattr(whole, "emit", killed)
    whole.go()
    [resumed] = copies
    before = len(resumed.events)
    del resumed.__dict__["emit"]
    resumed.resume()
    seen, wanted = (_seen(done.events[before:]) for done in (resumed, whole))
    assert seen == wanted
    assert {"chronic_overflow", "cadence"} <= {event.get("verdict", event.get("because")) for event in wanted}


def _seen(events: Sequence[RunEvent]) -> list[dict[str, Any]]:
    """What was seen inside the model and what was concluded, without the time."""
    found = [json.loads(to_json(event)) for event in events if isinstance(event, NumericsSampled | OverflowDiagnosed)]
    return [{name: value for name, value in event.items() if name != "time"} for event in found]
