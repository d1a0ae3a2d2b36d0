"""A whole run on a tiny model: events, run folder, stopping, repeating, and what happens to a NaN."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from studio.engine.control import Control
from studio.engine.data import batching
from studio.engine.models.load import load_model
from studio.engine.training import loop, model
from studio.errors import TrainingError
from studio.events import (
    DataPrepared,
    EvaluationCompleted,
    MemoryMeasured,
    NumericsStarted,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    to_json,
)
from tests.engine.training.trained import LORA, Trained


def test_a_run_tells_by_code_which_rows_it_skips(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"training": {"max_steps": 1}})
    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"messages": []}\n')
    (prepared,) = done.go().of(DataPrepared)
    assert prepared.skipped_rows == 1
    assert prepared.skipped == [{"code": "not_a_list", "values": {"field": "messages"}, "count": 1}]


def test_a_run_tells_its_story_and_leaves_an_adapter_that_peft_loads(tmp_path: Path) -> None:
    done = Trained(tmp_path, {}).go()
    begun = [RunStarted, DataPrepared, NumericsStarted, MemoryMeasured, EvaluationCompleted]
    assert [type(event) for event in done.events[:5]] == begun
    (finished,) = done.of(RunFinished)
    assert (finished.status, finished.update, finished.step) == ("finished", 6, 6)
    assert 0 < done.of(MemoryMeasured)[0].seconds < finished.seconds
    losses = [event.loss for event in done.of(EvaluationCompleted)]
    assert losses[-1] < losses[0]
    assert [step.update for step in done.steps] == [1, 2, 3, 4, 5, 6]
    base = AutoModelForCausalLM.from_pretrained(done.model)
    total = sum(p.numel() for p in base.parameters())
    peft_model = PeftModel.from_pretrained(base, str(done.folder.adapter), is_trainable=True)
    assert finished.trainable_parameters == sum(p.numel() for p in peft_model.parameters() if p.requires_grad)
    assert finished.total_parameters == total + finished.trainable_parameters
    state = done.folder.read_state()
    assert (state["status"], state["updates"], state["loss"]) == ("finished", 6, done.steps[-1].loss)
    assert state["validation_loss"] == {"first": losses[0], "last": losses[-1], "best": min(losses)}


def test_the_validation_loss_is_that_of_transformers(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"data": {"validation_fraction": 0.25}})
    from studio.engine.data.prepare import prepare_data
    from studio.engine.models.load import load_tokenizer

    data = prepare_data(done.config.data, load_tokenizer(done.model), "chat", 0)
    base = AutoModelForCausalLM.from_pretrained(done.model)
    total, count = 0.0, 0
    for index in range(len(data.validation)):
        row = data.validation[index]
        labels = torch.tensor(row.labels, dtype=torch.int64)[None]
        supervised = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            total += float(base(input_ids=torch.tensor(row.input_ids)[None], labels=labels).loss) * supervised
        count += supervised
    first = done.go().of(EvaluationCompleted)[0]
    assert first.supervised_tokens == count
    assert first.loss == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
def test_a_run_repeats_bit_for_bit(tmp_path: Path, precision: str) -> None:
    sections = {"precision": {"name": precision}, "method": LORA | {"dropout": 0.1}}
    first, second = (Trained(tmp_path, sections).go() for _ in range(2))
    assert [s.loss for s in first.steps] == [s.loss for s in second.steps]
    assert all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first = Trained(tmp_path, {}).go()
    second = Trained(tmp_path, {"training": {"seed": 1}}).go()
    assert [s.loss for s in first.steps] != [s.loss for s in second.steps]


def test_a_huge_initial_scale_is_halved_without_advancing_updates_or_learning_rate(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"precision": {"name": "fp16-mixed", "initial_scale": 1e38}}).go()
    search = list(itertools.takewhile(lambda step: step.skipped, done.steps))
    assert len(search) > 5
    assert {step.update for step in search} == {0}
    assert len({step.learning_rate for step in done.steps[: len(search) + 1]}) == 1
    scales = [step.grad_scale for step in search]
    assert scales[0] == 1e38
    assert all(b == a / 2 for a, b in itertools.pairwise(scales))  # type: ignore[operator]
    assert all(a.update + (not b.skipped) == b.update for a, b in itertools.pairwise(done.steps))
    assert done.of(RunFinished)[0].update == 6
    assert all(json.loads(to_json(step))["grad_norm"] in ("inf", "nan") for step in search)


def test_static_and_no_scaling_say_so(tmp_path: Path) -> None:
    static = Trained(
        tmp_path, {"precision": {"name": "fp16-mixed", "loss_scaling": "static", "initial_scale": 1024.0}}
    ).go()
    assert {step.grad_scale for step in static.steps} == {1024.0}
    off = Trained(tmp_path, {"precision": {"name": "fp16-mixed", "loss_scaling": "off"}}).go()
    assert {step.grad_scale for step in off.steps} == {None}


def test_a_nan_in_a_weight_stops_the_run_and_nothing_non_finite_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any, **options: Any) -> Any:
        model = load_model(*arguments, **options)
        model.get_input_embeddings().weight.data[5:200] = math.nan
        return model

    monkeypatch.setattr(model, "load_model", poisoned)
    done = Trained(tmp_path, {})
    with pytest.raises(TrainingError, match=r"not numbers.*embed_tokens"):
        done.go()
    assert len(done.steps) == done.config.numerics.pause_after
    assert [event.verdict for event in done.of(OverflowDiagnosed)] == ["nonfinite_weights"]
    assert all(step.skipped and math.isnan(step.loss) for step in done.steps)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in done.weights.values())


def test_a_nan_in_a_trained_weight_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Trained(tmp_path, {})
    original = loop.Loop._next_attempt

    def poison(self: loop.Loop) -> None:
        original(self)
        parameter = self.trainer.model.parameters[0]
        parameter.data[0] = math.inf

    monkeypatch.setattr(loop.Loop, "_next_attempt", poison)
    with pytest.raises(TrainingError):
        done.go()
    assert not list(done.folder.adapter.glob("*")) if done.folder.adapter.exists() else True


def test_a_nan_in_the_data_path_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.engine.training.loss import SupervisedLoss

    original = SupervisedLoss.__call__
    seen: list[int] = []

    def poisoned(self: SupervisedLoss, batch: batching.MicroBatch, weight: float = 1.0) -> torch.Tensor:
        seen.append(1)
        loss = original(self, batch, weight)
        return loss * math.nan if len(seen) > 7 else loss  # the first call is that of the trial

    monkeypatch.setattr(SupervisedLoss, "__call__", poisoned)
    done = Trained(tmp_path, {"data": {"validation_fraction": 0.0}, "training": {"max_steps": 50}})
    with pytest.raises(TrainingError, match=r"rows\.jsonl row \d+"):
        done.go()
    good = [step for step in done.steps if not step.skipped]
    assert len(good) == 6
    assert all(bool(torch.isfinite(tensor).all()) for tensor in done.weights.values())


def test_stop_saves_what_was_learnt_and_ends_cleanly(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"training": {"max_steps": 1000}})
    original = done.emit

    def emit(event: RunEvent | ProgressReported) -> None:
        original(event)
        if isinstance(event, StepCompleted) and event.step == 3:
            done.control.stop()

    done.emit = emit  # type: ignore[method-assign]
    done.go()
    (finished,) = done.of(RunFinished)
    assert (finished.status, finished.update) == ("stopped", 3)
    assert done.folder.read_state()["status"] == "stopped"
    assert any(bool(tensor.any()) for name, tensor in done.weights.items() if "lora_B" in name)


def test_stop_while_preparing_ends_without_an_adapter(tmp_path: Path) -> None:
    control = Control()
    control.stop()
    done = Trained(tmp_path, {}, control).go()
    assert done.of(RunFinished)[0].status == "stopped"
    assert not done.folder.adapter.exists()


def test_pause_waits_and_goes_on_with_the_same_result(tmp_path: Path) -> None:
    plain = Trained(tmp_path, {}).go()
    done = Trained(tmp_path, {})
    original = done.emit

    def emit(event: RunEvent | ProgressReported) -> None:
        original(event)
        if isinstance(event, StepCompleted) and event.step == 2:
            done.control.pause()
        if isinstance(event, RunPaused):
            done.control.resume()

    done.emit = emit  # type: ignore[method-assign]
    done.go()
    assert len(done.of(RunPaused)) == len(done.of(RunResumed)) == 1
    assert [s.loss for s in done.steps] == [s.loss for s in plain.steps]


def test_how_an_update_is_split_does_not_change_the_run(tmp_path: Path) -> None:
    method = {"method": LORA | {"dropout": 0.0}}
    whole = Trained(tmp_path, method).go(token_budget=10_000)
    split = Trained(tmp_path, method).go(token_budget=1)
    assert {step.micro_batches for step in whole.steps} == {1}
    assert {step.micro_batches for step in split.steps} == {4, 2}  # 18 rows: the epoch's last update has two
    assert [s.loss for s in split.steps] == pytest.approx([s.loss for s in whole.steps], rel=1e-4)
    assert [s.tokens for s in split.steps] == [s.tokens for s in whole.steps]


def test_full_fine_tuning_saves_a_whole_model(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"method": {"name": "full", "freeze_embeddings": True}}).go()
    trained = AutoModelForCausalLM.from_pretrained(done.folder.adapter)
    base = AutoModelForCausalLM.from_pretrained(done.model)
    assert torch.equal(trained.get_input_embeddings().weight, base.get_input_embeddings().weight)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(trained.state_dict()[name], base.state_dict()[name])


def test_an_overflow_of_the_scale_is_tried_again_on_the_same_rows(tmp_path: Path) -> None:
    precision = {"name": "fp16-mixed", "initial_scale": 2.0**28}
    steps = Trained(tmp_path, {"precision": precision, "training": {"max_steps": 3}}).go().steps
    skipped = list(itertools.takewhile(lambda step: step.skipped, steps))
    applied = steps[len(skipped)]
    assert len(skipped) >= 3
    assert {step.epoch for step in skipped} == {0.0}
    assert applied.epoch > 0.0
    counts = {(step.tokens, step.supervised_tokens) for step in skipped}
    assert counts == {(applied.tokens, applied.supervised_tokens)}


def test_training_writes_nothing_beside_the_model_and_goes_on_when_its_drive_is_removed(tmp_path: Path) -> None:
    class Removing(Trained):
        def emit(self, event: RunEvent | ProgressReported) -> None:
            super().emit(event)
            if isinstance(event, StepCompleted) and event.step == 1:
                assert {file: file.read_bytes() for file in self.model.iterdir()} == files
                shutil.rmtree(self.model)

    sections = {"training": {"max_steps": 4, "evaluate_every": 2}}
    done = Removing(tmp_path, sections)
    files = {file: file.read_bytes() for file in done.model.iterdir()}

    done.go()

    assert isinstance(done.events[-1], RunFinished)
    assert load_file(done.folder.adapter / "adapter_model.safetensors")
