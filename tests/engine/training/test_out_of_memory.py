"""A run is never lost to memory: it goes on in smaller micro-batches, and ends with the same weights."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.engine import device
from studio.engine.data.batching import MicroBatch
from studio.engine.estimate.plan import place_of, plan, with_rows
from studio.engine.models.inspect import inspect_model
from studio.engine.recompute import blocks_of
from studio.engine.training import optimizer as optimizers
from studio.engine.training import retention, trainer
from studio.engine.training.loss import SupervisedLoss
from studio.errors import TrainingError
from studio.events import DataPrepared, EvaluationCompleted, MemoryMeasured, MicroBatchShrunk, RetentionMeasured
from tests.engine.training.trained import Trained
from tests.tiny import bench, rows

METHOD = {"name": "lora", "rank": 4, "dropout": 0.0}
BUDGET = 400


class Breaking:
    """Raises as torch does when memory runs out, at the calls with these numbers (from 1)."""

    def __init__(self, *calls: int) -> None:
        self._calls = calls
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.count in self._calls:
            raise torch.OutOfMemoryError("CUDA out of memory.")


def in_forward(patch: pytest.MonkeyPatch, breaking: Breaking) -> None:
    """Memory runs out in the forward pass of a training step."""
    whole = SupervisedLoss.__call__

    def broken(self: SupervisedLoss, batch: MicroBatch, weight: float = 1.0) -> Tensor:
        if torch.is_grad_enabled():
            breaking()
        return whole(self, batch, weight)

    patch.setattr(SupervisedLoss, "__call__", broken)


def in_evaluation(patch: pytest.MonkeyPatch, breaking: Breaking) -> None:
    whole = SupervisedLoss.of_rows

    def broken(self: SupervisedLoss, batch: MicroBatch) -> Tensor:
        breaking()
        return whole(self, batch)

    patch.setattr(SupervisedLoss, "of_rows", broken)


def in_retention(patch: pytest.MonkeyPatch, breaking: Breaking) -> None:
    """It runs out where retention is measured, when the logits of the base are there."""
    whole = retention._compare_pieces

    def broken(*args: Any) -> Tensor:
        breaking()
        return whole(*args)

    patch.setattr(retention, "_compare_pieces", broken)


def in_backward(patch: pytest.MonkeyPatch, breaking: Breaking) -> None:
    """It runs out in the backward pass, when some gradients are there already."""
    whole = SupervisedLoss.__call__

    def broken(self: SupervisedLoss, batch: MicroBatch, weight: float = 1.0) -> Tensor:
        if torch.is_grad_enabled():
            first = next(blocks_of(self._base))
            handle = first.register_forward_hook(
                lambda module, inputs, output: output.register_hook(lambda gradient: breaking()) and None
            )
            try:
                return whole(self, batch, weight)
            finally:
                handle.remove()
        return whole(self, batch, weight)

    patch.setattr(SupervisedLoss, "__call__", broken)


def in_optimizer(patch: pytest.MonkeyPatch, breaking: Breaking, *, after: bool) -> None:
    """It runs out in the optimizer's step: before or after the weights of a portion have moved."""
    whole = torch.optim.AdamW.step

    @functools.wraps(whole)
    def broken(self: torch.optim.AdamW, closure: Any = None) -> Any:
        if not after:
            breaking()
        result = whole(self, closure)
        if after:
            breaking()
        return result

    patch.setattr(torch.optim.AdamW, "step", broken)
    patch.setattr(optimizers, "PORTION", 600)  # several portions


def in_trial(patch: pytest.MonkeyPatch, breaking: Breaking) -> None:
    whole = trainer.Trainer.try_out

    def broken(self: trainer.Trainer, batch: MicroBatch) -> None:
        whole(self, batch)
        breaking()

    patch.setattr(trainer.Trainer, "try_out", broken)


PLACES: dict[str, tuple[Callable[[pytest.MonkeyPatch, Breaking], None], str]] = {
    "forward": (in_forward, "training"),
    "backward": (in_backward, "training"),
    "evaluation": (in_evaluation, "evaluation"),
    "retention": (in_retention, "evaluation"),
    "optimizer, at first": (functools.partial(in_optimizer, after=False), "optimizer"),
    "optimizer, half-way": (functools.partial(in_optimizer, after=True), "optimizer"),
    "trial": (in_trial, "trial"),
}
# The first forward passes are those of the trial.
CALLS = {
    "forward": 5,
    "backward": 5,
    "evaluation": 2,
    "retention": 2,
    "trial": 1,
    "optimizer, at first": 9,
    "optimizer, half-way": 9,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_run_goes_on_and_ends_with_the_same_weights(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"method": METHOD, "training": {"learning_rate": 1e-3}}
    whole = Trained(tmp_path, sections).go(token_budget=BUDGET)
    break_in, during = PLACES[place]
    break_in(monkeypatch, Breaking(CALLS[place]))
    done = Trained(tmp_path, sections).go(token_budget=BUDGET)
    (shrunk,) = done.of(MicroBatchShrunk)
    assert shrunk.during == during
    assert shrunk.tokens <= BUDGET // 2 < shrunk.tokens_before == BUDGET
    assert [step.update for step in done.steps] == [step.update for step in whole.steps]
    for name, weight in whole.weights.items():
        torch.testing.assert_close(done.weights[name], weight, rtol=1e-6, atol=1e-6)
    losses = [[event.loss for event in run.of(EvaluationCompleted)] for run in (whole, done)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    kept = [[event.perplexity for event in run.of(RetentionMeasured)] for run in (whole, done)]
    assert kept[1] == pytest.approx(kept[0], rel=1e-6)


def test_the_trial_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_dropout = {"method": METHOD | {"dropout": 0.2}}
    tried = Trained(tmp_path, with_dropout).go(token_budget=BUDGET)
    (measured,) = tried.of(MemoryMeasured)
    assert measured.micro_batch_tokens == BUDGET
    assert measured.rows * (measured.length + 1) <= BUDGET
    assert measured.peak > 0
    monkeypatch.setattr("studio.engine.training.trainer.Trainer.try_out", lambda self, batch: None)
    plain = Trained(tmp_path, with_dropout).go(token_budget=BUDGET)
    assert [step.loss for step in plain.steps] == [step.loss for step in tried.steps]
    assert all(torch.equal(plain.weights[name], weight) for name, weight in tried.weights.items())


def test_where_a_single_row_is_too_much_activations_are_computed_again_and_then_the_run_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = bench()
    told: list[Any] = []
    tiny.trainer._emit = told.append
    in_forward(monkeypatch, Breaking(1, 2))
    whole, again = bench(), rows(1)
    assert tiny.trainer.token_budget == 10_000
    with pytest.raises(TrainingError, match="single row"):
        tiny.update(again)
    assert [(event.recompute, event.tokens) for event in told] == [(True, 10_000)]
    assert whole.trainer.model.recomputation.on is False
    assert tiny.update(again).loss == whole.update(again).loss


def test_where_a_processor_runs_short_less_is_taken_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tiny = bench(), bench()
    told: list[Any] = []
    tiny.trainer._emit = told.append
    monkeypatch.setattr(trainer, "memory_is_short", lambda device: True)
    losses = [tiny.update(rows(4), token_budget=tiny.trainer.token_budget).loss for _ in range(6)]
    monkeypatch.undo()
    # Nothing is known of the first micro-batch. Then there are fewer rows, and at last activations are computed again.
    assert [event.recompute for event in told] == [True, True, True]
    assert tiny.trainer.token_budget < 100
    assert losses == pytest.approx([whole.update(rows(4)).loss for _ in range(6)], rel=1e-6)


def test_rows_that_are_there_decide_whether_training_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {"data": {"max_length": 100_000}, "training": {"max_steps": 1, "recompute": "off"}}
    done = Trained(tmp_path, sections).go()
    config, info = done.config, inspect_model(done.model)
    (longest,) = {event.longest for event in done.of(DataPrepared)}
    place = dataclasses.replace(place_of(config), available=1)  # the way that takes least
    needed = [plan(info, given, place).total_bytes for given in (with_rows(config, longest), config)]
    assert needed[0] < needed[1]
    monkeypatch.setattr(device, "memory_of", lambda name: (needed[0], place.total))
    Trained(tmp_path, sections).go()
    monkeypatch.setattr(device, "memory_of", lambda name: (needed[0] - 1, place.total))
    with pytest.raises(TrainingError, match=r"Training takes .* of memory"):
        Trained(tmp_path, sections).go()


@pytest.mark.parametrize("name", ["adamw", "adamw-8bit", "adafactor"])
def test_a_step_that_failed_half_way_is_applied_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first portion of the second step fails after it was applied, and so does the second half of it."""
    whole, broken = (bench({"name": "full"}, optimizer=name) for _ in range(2))
    for tiny in (whole, broken):
        tiny.update(rows(4))
    step, breaking = type(broken.trainer.optimizer).step, Breaking(1, 3)
    monkeypatch.setattr(optimizers, "PORTION", 20_000)
    whole.update(rows(4, seed=1))

    def fails(*args: Any) -> None:
        step(broken.trainer.optimizer)
        breaking()

    broken.trainer.optimizer.step = fails  # type: ignore[method-assign]
    broken.update(rows(4, seed=1))
    assert breaking.count > 3
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, broken.parameters, strict=True))
    for first, second in zip(whole.parameters, broken.parameters, strict=True):
        pairs = zip(
            whole.trainer.optimizer.state[first].values(), broken.trainer.optimizer.state[second].values(), strict=True
        )
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = bench()
    monkeypatch.setattr(tiny.trainer.optimizer, "step", lambda: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        tiny.update(rows(4))
