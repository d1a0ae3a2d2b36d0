"""A pause gives the memory of the device back, and changes nothing. The processor stands in for the GPU here."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typing_extensions import override

from studio.engine import control as control_module
from studio.engine.control import Control
from studio.engine.training import pause
from studio.engine.training.pause import Parked, tensors_of
from studio.events import ProgressReported, RunFinished, RunPaused, RunResumed, StepCompleted
from tests.engine.training.trained import LORA, Trained

CPU = torch.device("cpu")
# Three rows at most go through the model together: the run pauses inside an update, with half of its gradients.
BUDGET = 60
PLAIN: dict[str, Any] = {"retention": {"measure": False}, "data": {"validation_fraction": 0.0}}


class Hearing(Trained):
    """A run whose control hears what it says."""

    @override
    def emit(self, event: Any) -> None:
        self.control.hear(event)  # type: ignore[attr-defined]
        super().emit(event)


class PausedOnce(Control):
    """Pauses before the second micro-batch of the third step; `meanwhile` is what happens then."""

    def __init__(self, meanwhile: Callable[[PausedOnce], None] = lambda control: None) -> None:
        super().__init__()
        self._left: float = 0
        self._meanwhile = meanwhile

    def hear(self, event: object) -> None:
        if isinstance(event, StepCompleted):
            self._left = 2 if event.step == 2 else 0

    @property
    @override
    def pause_requested(self) -> bool:
        self._left -= 1
        return self._left == 0

    @override
    def wait_while_paused(self) -> None:
        self._meanwhile(self)


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> list[Parked]:
    """Let a pause free the memory of the processor, too; all that was parked is in the list."""
    all_parked: list[Parked] = []

    class Noted(Parked):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            all_parked.append(self)

    monkeypatch.setattr(pause, "frees", lambda device: True)
    monkeypatch.setattr(pause, "Parked", Noted)
    return all_parked


SECTIONS: dict[str, dict[str, Any]] = {
    "lora, dropout": {"method": LORA | {"dropout": 0.2}},
    "fp16, scaled": {"precision": {"name": "fp16-mixed"}},
    "bf16 head": {"precision": {"name": "bf16-mixed"}},
    "full, pure": {"method": {"name": "full"}, "precision": {"name": "bf16-pure"}},
    "nf4": {"precision": {"name": "bf16-mixed", "base_dtype": "nf4"}},
    "int8": {"precision": {"name": "bf16-mixed", "base_dtype": "int8"}},
    "p-tuning": {"method": {"name": "p-tuning", "virtual_tokens": 4, "hidden_size": 16}},
}


@pytest.mark.parametrize("sections", SECTIONS.values(), ids=SECTIONS.keys())
def test_a_pause_inside_an_update_changes_no_bit(tmp_path: Path, parked: list[Parked], sections: Any) -> None:
    def meanwhile(control: PausedOnce) -> None:
        (one,) = parked
        assert one.bytes > 0
        assert not sum(tensor.untyped_storage().nbytes() for tensor in one._tensors if not _fixed(tensor))
        torch.rand(7)  # somebody else draws

    unbroken = Trained(tmp_path, PLAIN | sections).go(token_budget=BUDGET)
    paused = Hearing(tmp_path, PLAIN | sections, PausedOnce(meanwhile))
    paused.go(token_budget=BUDGET)
    (waited,) = paused.of(RunPaused)
    assert waited.released == parked[0].bytes
    assert len(paused.of(RunResumed)) == 1
    assert max(step.micro_batches for step in paused.steps) > 1
    assert [step.loss for step in paused.steps] == [step.loss for step in unbroken.steps]
    assert [step.grad_norm for step in paused.steps] == [step.grad_norm for step in unbroken.steps]


def _fixed(tensor: torch.Tensor) -> bool:
    """Whether its memory belongs to a mapped file or to numpy: there is none such on a GPU."""
    return not tensor.untyped_storage().resizable()


def test_the_time_of_a_pause_is_not_counted(
    tmp_path: Path, parked: list[Parked], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(control_module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def night(control: PausedOnce) -> None:
        now[0] += 30_000.0

    trained = Hearing(tmp_path, PLAIN, PausedOnce(night)).go(token_budget=BUDGET)
    assert now == [30_000.0]
    assert sum(step.seconds for step in trained.steps) == 0.0
    assert trained.of(RunFinished)[0].seconds == 0.0


def test_a_run_whose_gpu_is_taken_waits_on_and_says_so(
    tmp_path: Path, parked: list[Parked], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = Parked.bring_back, [5, 0]
    monkeypatch.setattr(Parked, "bring_back", lambda self: answers.pop(0) or real(self))
    trained = Hearing(tmp_path, PLAIN, PausedOnce()).go(token_budget=BUDGET)
    assert [event.missing for event in trained.of(RunPaused)] == [0, 5]
    assert len(trained.of(RunResumed)) == 1
    assert len(trained.steps) == 6


def test_a_run_whose_gpu_is_taken_is_stopped_and_saved_all_the_same(
    tmp_path: Path, parked: list[Parked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parked, "bring_back", lambda self: 5)
    stopped = Hearing(tmp_path, PLAIN, PausedOnce(lambda control: control.stop()))
    stopped.go(token_budget=BUDGET)
    assert stopped.of(RunFinished)[0].status == "stopped"
    assert len(stopped.steps) == 2
    monkeypatch.undo()
    twin = Hearing(tmp_path, PLAIN, PausedOnce(lambda control: control.stop()))
    twin.go(token_budget=BUDGET)
    assert all(torch.equal(weight, twin.weights[name]) for name, weight in stopped.weights.items())


def test_bytes_that_do_not_fit_are_left_alone_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(8, 8)
    before = layer.weight.detach().clone()
    taken = Parked([layer], CPU)
    resize = torch.UntypedStorage.resize_

    def full(self: torch.UntypedStorage, size: int) -> None:
        if size == 8 * 8 * 4:
            raise RuntimeError("CUDA out of memory")
        resize(self, size)

    monkeypatch.setattr(torch.UntypedStorage, "resize_", full)
    assert taken.bring_back() > 0
    assert layer.bias.untyped_storage().nbytes() == 0
    monkeypatch.undo()
    assert taken.bring_back() == 0
    assert torch.equal(layer.weight, before)


def test_nothing_is_moved_where_the_processor_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "SPARE", 1 << 60)
    layer = nn.Linear(8, 8)
    assert Parked([layer], CPU).bytes == 0
    assert layer.weight.untyped_storage().nbytes() == 256


def test_every_tensor_is_found_and_tied_ones_stay_tied() -> None:
    copy, scale, gradient = torch.ones(3), torch.ones(4), torch.ones(2, 2)
    layer, tied = nn.Linear(2, 2), nn.Linear(2, 2)
    tied.weight = layer.weight
    layer.weight.grad = gradient
    layer.weight.scales = {"deep": [(scale,)]}  # type: ignore[attr-defined]
    layer.register_forward_hook(lambda module, inputs, output: output + copy.sum())
    view = layer.weight[0]
    found = {tensor.data_ptr() for tensor in tensors_of([layer, tied])}
    assert {copy.data_ptr(), scale.data_ptr(), gradient.data_ptr(), layer.bias.data_ptr()} <= found
    before = view.detach().clone()
    parked = Parked([layer, tied], CPU)
    assert copy.untyped_storage().nbytes() == 0
    assert not parked.bring_back()
    assert torch.equal(view, before)
    assert tied.weight is layer.weight


class PausedWhile(Control):
    """Pauses once, as soon as a stage is reported; `seen` are the events before the run goes on."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage
        self.waits = 0

    def hear(self, event: object) -> None:
        if isinstance(event, ProgressReported) and event.stage == self._stage and not self.waits:
            self.pause()

    @override
    def wait_while_paused(self) -> None:
        self.waits += 1
        self.resume()


@pytest.mark.parametrize("stage", ["tokenising", "evaluating", "measuring_retention"])
def test_a_run_pauses_also_before_it_trains_and_while_it_measures(tmp_path: Path, stage: str) -> None:
    control = PausedWhile(stage)
    trained = Hearing(tmp_path, {"training": {"max_steps": 1}}, control).go()
    assert control.waits == 1
    assert len(trained.of(RunPaused)) == len(trained.of(RunResumed)) == 1
    assert trained.of(RunFinished)[0].status == "finished"
