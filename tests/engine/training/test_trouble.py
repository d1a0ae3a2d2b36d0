"""A run in trouble: it waits or ends, takes remedies, keeps checkpoints, and goes back to one that worked."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from studio import i18n
from studio.engine.data import batching
from studio.engine.models.load import load_model
from studio.engine.numerics.verdicts import verdict_words
from studio.engine.precision.choose import reason_text
from studio.engine.training import checkpoint, loop, monitor, run, trainer
from studio.engine.training import model as trainable
from studio.engine.training.loss import SupervisedLoss
from studio.errors import TrainingError
from studio.events import (
    CheckpointSaved,
    EvaluationCompleted,
    NumericsSampled,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    to_json,
)
from studio.text.words import refusal_text
from tests.engine.training.trained import Answering, Trained, checkpoint_every_update


@pytest.fixture
def _overflowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base model with activations in its second layer that fp16 cannot hold and fp32 can; its weights are modest."""

    def huge(*arguments: Any, **options: Any) -> Any:
        model = load_model(*arguments, **options)
        layer = model.model.layers[1]
        layer.post_attention_layernorm.weight.data.mul_(1e3)
        layer.mlp.up_proj.weight.data.mul_(3e3)
        layer.mlp.down_proj.weight.data.mul_(1e-7)
        return model

    monkeypatch.setattr(trainable, "load_model", huge)


@pytest.mark.usefixtures("_overflowing")
def test_a_hopeless_run_waits_for_who_watches_and_can_be_stopped_with_its_weights(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed"}}, Answering()).go()
    (verdict,) = done.of(OverflowDiagnosed)
    assert verdict.verdict == "forward_overflow"
    assert verdict.evidence["module"] == "model.layers.1.mlp.up_proj"
    (paused,) = done.of(RunPaused)
    assert (paused.because, paused.step) == ("forward_overflow", done.config.numerics.pause_after)
    assert done.of(RunFinished)[0].status == "stopped"
    assert done.weights


@pytest.mark.usefixtures("_overflowing")
@pytest.mark.parametrize("remedy", ["use_bf16", "use_fp32"])
def test_a_remedy_lets_the_run_go_on_in_another_precision(tmp_path: Path, remedy: str) -> None:
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed"}}, Answering(remedy)).go()
    assert remedy in done.of(OverflowDiagnosed)[0].remedies
    changes = [event.changes for event in done.of(RunResumed) if event.changes]
    assert changes == [{"precision.name": "bf16-mixed" if remedy == "use_bf16" else "fp32"}]
    assert done.of(RunFinished)[0].status == "finished"
    assert [step.step for step in done.steps] == list(range(1, len(done.steps) + 1))
    assert sum(not step.skipped for step in done.steps) == 6
    assert done.folder.read_state()["precision"] == changes[0]["precision.name"]


@pytest.mark.usefixtures("_overflowing")
def test_another_precision_does_not_hold_two_models_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[weakref.ref[torch.nn.Module]] = []
    plain = run.load_trainable

    def load(*arguments: Any, **options: Any) -> trainable.TrainableModel:
        gc.collect()  # the window does that every second
        assert not [model for model in models if model() is not None]
        trained = plain(*arguments, **options)
        models.append(weakref.ref(trained.base))
        return trained

    monkeypatch.setattr(run, "load_trainable", load)
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed"}}, Answering("use_fp32")).go()
    assert done.of(RunFinished)[0].status == "finished"
    assert len(models) == 2


@pytest.mark.usefixtures("_overflowing")
def test_without_anybody_watching_a_hopeless_run_ends_with_the_verdict(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed"}})
    with pytest.raises(TrainingError, match=r"model\.layers\.1\.mlp\.up_proj"):
        done.go()
    assert done.folder.read_state()["status"] == "failed"


@pytest.mark.usefixtures("_overflowing")
def test_rows_that_were_left_out_stay_out_after_another_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_on: list[tuple[int, int]] = []
    sections = {"precision": {"name": "fp16-mixed"}, "training": {"max_steps": 12}}
    done = Trained(tmp_path, sections, Answering("skip_rows", "use_fp32"))

    collate = batching.collate

    def note(rows: Any, pad_id: int) -> batching.MicroBatch:
        changes = sum(bool(event.changes) for event in done.of(RunResumed))
        trained_on.extend((changes, row.number) for row in rows)
        return collate(rows, pad_id)

    monkeypatch.setattr(batching, "collate", note)
    done.go()
    assert done.of(RunFinished)[0].status == "finished"
    left_out = {row["number"] for row in done.of(OverflowDiagnosed)[0].evidence["rows"]}
    assert left_out <= {number for changes, number in trained_on if changes == 0}
    assert {number for changes, number in trained_on if changes == 2}
    assert not left_out & {number for changes, number in trained_on if changes > 0}


def test_a_run_that_has_no_row_left_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Trained(tmp_path, {})
    rows = loop.Loop._next_rows

    def none_left(self: loop.Loop) -> list[Any]:
        self.left_out.update((row.source, row.number) for row in rows(self))
        return rows(self)

    monkeypatch.setattr(loop.Loop, "_next_rows", none_left)
    with pytest.raises(TrainingError, match="All rows to learn from were left out"):
        done.go()
    stopped = Trained(tmp_path, {})
    stopped.control.stop()
    stopped.go()
    assert stopped.of(RunFinished)[0].status == "stopped"


def test_a_run_goes_on_behind_batches_that_no_row_is_left_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one epoch and the beginning of the next are no epoch: together they may hold the same rows twice."""
    done = Trained(tmp_path, {"training": {"max_steps": 12}})
    rows = loop.Loop._next_rows
    monkeypatch.setattr(loop.Loop, "_next_rows", lambda self: [] if 3 <= self.position.batch < 8 else rows(self))
    done.go()
    assert (done.of(RunFinished)[0].status, done.of(RunFinished)[0].update) == ("finished", 12)


def test_a_run_that_passes_over_batches_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Trained(tmp_path, {})
    rows = loop.Loop._next_rows

    def stopped_on_the_way(self: loop.Loop) -> list[Any]:
        if self.position.batch < 2:
            return rows(self)
        done.control.stop()
        return []

    monkeypatch.setattr(loop.Loop, "_next_rows", stopped_on_the_way)
    done.go()
    assert (done.of(RunFinished)[0].status, done.of(RunFinished)[0].update) == ("stopped", 2)


@pytest.fixture
def _breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained weight that breaks behind the fifth step, and checkpoints as often as can be."""
    attempt = loop.Loop._next_attempt

    def broken(self: loop.Loop) -> None:
        attempt(self)
        if self.position.step == 5:
            self.trainer.model.parameters[0].data[0, 0] = math.nan

    monkeypatch.setattr(loop.Loop, "_next_attempt", broken)
    checkpoint_every_update(monkeypatch)


UNVALIDATED = {"data": {"validation_fraction": 0.0}, "training": {"max_steps": 8}}


@pytest.mark.usefixtures("_breaking")
@pytest.mark.parametrize("remedy", ["restore_checkpoint", "lower_learning_rate"])
def test_a_run_whose_weights_broke_goes_on_from_the_last_checkpoint_that_worked(tmp_path: Path, remedy: str) -> None:
    done = Trained(tmp_path, UNVALIDATED, Answering(remedy)).go()
    (verdict,) = done.of(OverflowDiagnosed)
    assert (verdict.verdict, verdict.remedies[0]) == ("nonfinite_weights", "restore_checkpoint")
    (changes,) = [event.changes for event in done.of(RunResumed) if event.changes]
    assert changes["back to update"] == 4  # update 5 was saved too, and no step has worked with it
    assert ("training.learning_rate" in changes) == (remedy == "lower_learning_rate")
    again = [step for step in done.steps if step.step > 10]
    assert [step.update for step in again] == [5, 6, 7, 8]
    assert done.of(RunFinished)[0].status == "finished"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in done.weights.values())


@pytest.mark.usefixtures("_breaking")
def test_going_back_is_neither_offered_nor_done_where_no_checkpoint_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_CHECKPOINT", 5)
    done = Trained(tmp_path, UNVALIDATED, Answering("restore_checkpoint"))
    with pytest.raises(TrainingError):
        done.go()  # stopped then, with weights that cannot be saved
    assert done.of(OverflowDiagnosed)[0].remedies == []
    assert [event.refused for event in done.of(RunResumed) if event.refused]


@pytest.mark.usefixtures("_breaking")
def test_a_checkpoint_that_was_damaged_is_passed_over(tmp_path: Path) -> None:
    control = Answering("restore_checkpoint")
    done = Trained(tmp_path, UNVALIDATED, control)
    emit = done.emit

    def damage(event: RunEvent | ProgressReported) -> None:
        emit(event)
        if isinstance(event, RunPaused):
            for place in done.folder.list_checkpoints():
                (place / "trained.safetensors").write_bytes(b"half")

    done.emit = damage  # type: ignore[method-assign]
    with pytest.raises(TrainingError):
        done.go()
    (refused,) = [event.refused for event in done.of(RunResumed) if event.refused]
    assert "no good checkpoint" in refused


def test_rows_that_fail_after_others_were_left_out_are_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SupervisedLoss.__call__
    bad: list[torch.Tensor] = []

    def poisoned(self: SupervisedLoss, batch: batching.MicroBatch, weight: float = 1.0) -> torch.Tensor:
        loss = whole(self, batch, weight)
        found = [torch.equal(row[: len(one)], one) for row in batch.input_ids for one in bad]
        return loss * math.nan if any(found) else loss

    monkeypatch.setattr(SupervisedLoss, "__call__", poisoned)
    sections = {"data": {"validation_fraction": 0.0}, "numerics": {"pause_after": 1}, "training": {"max_steps": 20}}
    done = Trained(tmp_path, sections, Answering("skip_rows", "skip_rows"))
    prepared = run.prepare_data

    def choose(*arguments: Any) -> Any:
        data = prepared(*arguments)
        order = data.order.epoch(0)
        bad.extend(torch.tensor(data.train[int(order[place])].input_ids)[:-1] for place in (1, 6))
        return data

    monkeypatch.setattr(run, "prepare_data", choose)
    done.go()
    told = [event.evidence["rows"] for event in done.of(OverflowDiagnosed)]
    assert [len(rows) for rows in told] == [1, 1]
    assert told[0] != told[1]
    assert sum(step.skipped for step in done.steps) == 2
    assert done.of(RunFinished)[0].status == "finished"


def test_a_row_with_huge_gradients_is_left_out_and_the_scale_goes_back_to_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SupervisedLoss.__call__
    bad: list[Any] = []

    def steep(self: SupervisedLoss, batch: batching.MicroBatch, weight: float = 1.0) -> torch.Tensor:
        loss = whole(self, batch, weight)
        if not any(row.number == bad[0].number for row in batch.rows):
            return loss
        return loss + 1e9 * (loss - loss.detach())

    monkeypatch.setattr(SupervisedLoss, "__call__", steep)
    prepared = run.prepare_data

    def choose(*arguments: Any) -> Any:
        data = prepared(*arguments)
        bad.append(data.train[int(data.order.epoch(0)[9])])
        return data

    monkeypatch.setattr(run, "prepare_data", choose)
    sections = {
        "data": {"validation_fraction": 0.0},
        "precision": {"name": "fp16-mixed", "initial_scale": 4096.0},
        "numerics": {"pause_after": 1},
        "training": {"max_steps": 8, "learning_rate": 1e-4},
    }
    done = Trained(tmp_path, sections, Answering("skip_rows")).go()
    (told,) = done.of(OverflowDiagnosed)
    assert told.verdict == "outlier_rows"
    assert [row["number"] for row in told.evidence["rows"]] == [bad[0].number]
    assert done.of(RunFinished)[0].status == "finished"
    assert min(step.grad_scale for step in done.steps) <= 64.0
    assert (done.steps[0].grad_scale, done.steps[-1].grad_scale) == (4096.0, 4096.0)


def test_one_remedy_after_another_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = trainer.decide
    monkeypatch.setattr(trainer, "decide", lambda loss, norm, *others: decide(loss, math.inf, *others))
    control = Answering("lower_learning_rate", "lower_learning_rate", "restore_checkpoint")
    done = Trained(tmp_path, {"training": {"learning_rate": 1e-2}}, control).go()
    changes = [event.changes for event in done.of(RunResumed) if event.changes]
    assert [change["training.learning_rate"] for change in changes] == [pytest.approx(1e-3), pytest.approx(1e-4)]
    assert done.of(RunFinished)[0].status == "stopped"
    assert len(done.of(RunPaused)) == 4


def test_without_rows_to_validate_with_there_are_checkpoints_too(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"data": {"validation_fraction": 0.0}}).go()
    assert done.of(CheckpointSaved)
    assert not done.of(EvaluationCompleted)


def test_a_failure_that_is_known_is_looked_into_sparingly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    find = monitor.NumericsMonitor._find

    def counted(self: Any, facts: Any, batches: Any) -> Any:
        looks.append(facts.step)
        return find(self, facts, batches)

    monkeypatch.setattr(monitor.NumericsMonitor, "_find", counted)
    scaling = {"name": "fp16-mixed", "loss_scaling": "static", "initial_scale": 2.0**30}
    sections = {"precision": scaling, "numerics": {"pause_after": 60, "every": 1000}, "training": {"max_steps": 100}}
    done = Trained(tmp_path, sections)
    with pytest.raises(TrainingError):
        done.go()
    assert len(done.steps) == 60
    assert len(looks) <= 5
    assert len(done.of(NumericsSampled)) <= 20


def test_looking_into_a_failure_never_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumbles(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("the look itself failed")

    monkeypatch.setattr(monitor, "locate_first", stumbles)
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed", "initial_scale": 2.0**30}}).go()
    assert done.of(RunFinished)[0].status == "finished"
    assert "the look itself failed" in caplog.text


def test_a_change_of_precision_keeps_weights_and_optimizer(tmp_path: Path) -> None:
    """fp32 to fp32 through a snapshot is the same run, bit for bit."""
    constant = {"training": {"schedule": "constant", "warmup_ratio": 0.0}}
    plain = Trained(tmp_path, constant).go()
    changed = Trained(tmp_path, constant)
    original = run._Run._train

    def twice(self: Any, prepared: Any) -> str:
        whole, self._loop.planned = self._loop.planned, 3
        original(self, prepared)
        asked = loop.RemedyAsked("use_fp32", type("V", (), {"evidence": {}})())
        prepared = self._apply_remedy(prepared, asked)
        assert self._loop.planned == whole
        return original(self, prepared)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Run, "_train", twice)
        changed.go()
    assert [s.loss for s in changed.steps] == [s.loss for s in plain.steps]
    assert all(torch.equal(tensor, changed.weights[name]) for name, tensor in plain.weights.items())


def test_checkpoints_are_complete_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        checkpoint_every_update(patch)
        done = Trained(tmp_path, {"training": {"evaluate_every": 6}}).go()
    saved = [event.path for event in done.of(CheckpointSaved)]
    assert saved.pop() == saved[-1]  # anew, with what was measured at the end
    assert [Path(path).name for path in saved] == [f"step-{step:06d}" for step in (3, 4, 5, 6)]
    assert done.folder.list_checkpoints() == [Path(path) for path in reversed(saved[2:])]
    last = checkpoint.read(Path(saved[-1]))
    assert last.position["update"] == 6
    adapter = {name.replace(".default", ""): tensor for name, tensor in last.trained.items()}
    assert all(torch.equal(tensor, adapter[name]) for name, tensor in done.weights.items())
    (Path(saved[-1]) / "trained.safetensors").write_bytes(b"half")
    with pytest.raises(TrainingError, match="damaged"):
        checkpoint.read(Path(saved[-1]))


@pytest.mark.usefixtures("_overflowing", "marked_chinese")
@pytest.mark.parametrize(("made", "shown"), [("zh_CN", "en"), ("en", "zh_CN")])
def test_a_run_of_one_language_reads_right_in_another(tmp_path: Path, made: str, shown: str) -> None:
    i18n.set_language(made)
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed"}}, Answering("use_no_numbers", "use_fp32")).go()

    written = "\n".join(map(to_json, done.events)) + done.folder.state.read_text(encoding="utf-8")
    assert "译" not in written
    i18n.set_language(shown)
    (begun,), (verdict,) = done.of(RunStarted), done.of(OverflowDiagnosed)
    (refused,) = [event.refused for event in done.of(RunResumed) if event.refused]
    texts = (
        reason_text(begun.precision_because, begun.precision, begun.frozen_dtype),
        refusal_text(refused),
        verdict_words(verdict)[0],
    )
    assert [text.startswith("译") for text in texts] == [shown == "zh_CN"] * 3
