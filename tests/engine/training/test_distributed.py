"""Several processes that train together give what one process gives, over gloo on this machine."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup

from studio.engine.data.batching import MicroBatch
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.run import resume
from studio.engine.training.trainer import Attempt, Trainer
from studio.errors import TrainingError
from studio.events import EvaluationCompleted, RetentionMeasured, RunFinished, StepCompleted
from studio.runs import open_run
from tests.engine.training.trained import Trained, checkpoint_every_update

PATIENCE = 120.0
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 4, "dropout": 0.0},
    "full": {"name": "full"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 3},
}


class Told:
    """What the run of one process said and left behind."""

    def __init__(self, done: Trained) -> None:
        self.losses = [step.loss for step in done.of(StepCompleted)]
        self.norms = [step.grad_norm for step in done.of(StepCompleted)]
        self.tokens = [(step.tokens, step.supervised_tokens) for step in done.of(StepCompleted)]
        self.validation = [(one.loss, one.rows, one.supervised_tokens) for one in done.of(EvaluationCompleted)]
        self.kept = [one.kl for one in done.of(RetentionMeasured)]
        self.status = [one.status for one in done.of(RunFinished)]
        self.folder = done.folder.path
        self.failure = ""
        files = sorted(done.folder.adapter.glob("*.safetensors"))
        self.files = [file.name for file in files]


def _train(
    rank: int,
    size: int,
    port: int,
    folder: Path,
    sections: dict[str, Any],
    stops: bool,
    until: int | None,
    before: Path | None,
    changes: Sequence[str],
    answers: Any,
) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    done = Trained(folder, sections)
    if stops:
        done.control.stop()
    failure = ""
    try:
        if before and rank == 0:
            done.folder = open_run(before)
            resume(done.folder, done.control, done.emit, changes=changes)
        else:
            done.go(until=until)
    except TrainingError as error:
        failure = str(error)
    told = Told(done)
    told.failure = failure
    answers.put((rank, told))


def _together(
    size: int,
    folder: Path,
    sections: dict[str, Any],
    stops: int | None = None,
    until: int | None = None,
    before: Path | None = None,
    changes: Sequence[str] = (),
) -> list[Told]:
    """Train in `size` processes and return what each of them said.

    Number `stops` is asked to stop at once; all stop after the step `until`. Number 0 goes on with the run `before`,
    with `changes`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forked = multiprocessing.get_context("fork")  # torch is imported already
    answers = forked.SimpleQueue()
    Trained(folder, {})  # makes the model and the rows, which the processes share
    given = until, before, changes, answers
    started = [
        forked.Process(target=_train, args=(rank, size, port, folder, sections, rank == stops, *given))
        for rank in range(size)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(PATIENCE)
    assert [process.exitcode for process in started] == [0] * size
    return [told for _, told in sorted((answers.get() for _ in started), key=lambda answer: answer[0])]


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_lose_what_one_loses_with_the_same_batch(tmp_path: Path, method: str) -> None:
    sections = {"method": METHODS[method], "training": {"batch_size": 5, "max_steps": 4}}
    alone = Told(Trained(tmp_path, sections).go())
    first, second = _together(2, tmp_path, sections)
    assert first.losses == pytest.approx(alone.losses, abs=1e-5)
    assert first.norms == pytest.approx(alone.norms, rel=1e-4)
    assert first.tokens == alone.tokens
    assert [one[0] for one in first.validation] == pytest.approx([one[0] for one in alone.validation], abs=1e-5)
    assert [one[1:] for one in first.validation] == [one[1:] for one in alone.validation]
    assert (second.losses, second.norms, second.validation) == (first.losses, first.norms, first.validation)


def test_process_0_alone_measures_retention_and_saves(tmp_path: Path) -> None:
    first, second = _together(2, tmp_path, {})
    assert len(first.kept) > 0
    assert second.kept == []
    assert first.files == ["adapter_model.safetensors"]
    assert second.files == []


def test_more_processes_than_rows_of_an_update(tmp_path: Path) -> None:
    sections = {"method": METHODS["lora"], "training": {"batch_size": 2, "max_steps": 3}}
    alone = Told(Trained(tmp_path, sections).go())
    told = _together(3, tmp_path, sections)
    assert told[0].losses == pytest.approx(alone.losses, abs=1e-5)
    assert told[2].losses == told[0].losses


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stop_that_one_process_is_asked_for_ends_all_of_them_with_the_result_saved(tmp_path: Path, rank: int) -> None:
    first, second = _together(2, tmp_path, {}, stops=rank)
    assert first.status == second.status == ["stopped"]
    assert first.losses == []
    assert first.files == ["adapter_model.safetensors"]


def test_an_overflow_in_the_rows_of_one_process_skips_the_step_in_all_of_them(tmp_path: Path) -> None:
    sections = {"precision": {"name": "fp16-mixed", "initial_scale": 2.0**40}, "training": {"max_steps": 3}}
    first, second = _together(2, tmp_path, sections)
    assert len(first.losses) > 3
    assert second.losses == first.losses


@pytest.mark.parametrize("begun_by", [1, 2])
def test_a_checkpoint_of_two_processes_goes_on_in_one_and_the_other_way_round(tmp_path: Path, begun_by: int) -> None:
    sections = {"method": METHODS["lora"], "training": {"batch_size": 5, "max_steps": 6}}
    alone = Told(Trained(tmp_path, sections).go())
    begun = _together(begun_by, tmp_path, sections, until=3)[0]
    gone_on = _together(3 - begun_by, tmp_path, sections, before=begun.folder)[0]
    assert begun.status == ["stopped"]
    assert gone_on.status == ["finished"]
    assert begun.losses + gone_on.losses == pytest.approx(alone.losses, abs=1e-5)
    assert gone_on.validation[-1][0] == pytest.approx(alone.validation[-1][0], abs=1e-5)


SPREAD: dict[str, Any] = {"method": METHODS["full"], "training": {"batch_size": 5, "max_steps": 6, "shard": "on"}}


def _with(**sections: dict[str, Any]) -> dict[str, Any]:
    return {name: {**SPREAD.get(name, {}), **sections.get(name, {})} for name in SPREAD.keys() | sections.keys()}


@pytest.mark.parametrize(
    "sections",
    [SPREAD, _with(method={"freeze_embeddings": True, "freeze_layers": 1}, training={"recompute": "on"})],
    ids=["all", "frozen and recomputed"],
)
def test_weights_that_are_spread_lose_what_one_process_loses(tmp_path: Path, sections: dict[str, Any]) -> None:
    alone = Told(Trained(tmp_path, sections).go())
    first, second = _together(2, tmp_path, sections)
    assert first.losses == pytest.approx(alone.losses, abs=1e-5)
    assert first.norms == pytest.approx(alone.norms, rel=1e-4)
    assert [one[0] for one in first.validation] == pytest.approx([one[0] for one in alone.validation], abs=1e-5)
    assert [one[1:] for one in first.validation] == [one[1:] for one in alone.validation]
    assert (second.losses, second.norms, second.validation) == (first.losses, first.norms, first.validation)
    assert (first.files, second.files) == (alone.files, [])


@pytest.mark.parametrize(
    "precision", [{"name": "bf16-mixed"}, {"name": "fp16-mixed", "initial_scale": 2.0**24}], ids=["bf16", "fp16"]
)
def test_weights_that_are_spread_give_what_whole_ones_give_bit_for_bit(
    tmp_path: Path, precision: dict[str, Any]
) -> None:
    """But for the norm of the gradients, a sum in another order; so nothing is clipped here."""
    spread, whole = (
        _together(2, tmp_path, _with(training={"shard": shard, "max_grad_norm": 0.0}, precision=precision))[0]
        for shard in ("on", "off")
    )
    assert spread.losses == whole.losses
    assert spread.norms == pytest.approx(whole.norms, rel=1e-5, nan_ok=True)


def test_memory_that_runs_out_while_weights_are_gathered_ends_the_run_and_it_goes_on_as_the_sentence_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can gather again what others wait for. A checkpoint of before, and less memory, is the way on."""
    whole, position = FSDPParamGroup.unshard, [0]
    attempt = Trainer.attempt

    def counted(self: Trainer, rows: Any, *, step: int, **options: Any) -> Attempt:
        position[0] = 0 if self.model.recomputation.on else step
        return attempt(self, rows, step=step, **options)

    def broken(self: FSDPParamGroup, async_op: bool = False) -> None:
        if os.environ.get("RANK") == "1" and position[0] == 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        whole(self, async_op)

    alone = Told(Trained(tmp_path, SPREAD).go())
    checkpoint_every_update(monkeypatch)
    monkeypatch.setattr(Trainer, "attempt", counted)
    monkeypatch.setattr(FSDPParamGroup, "unshard", broken)
    begun, other = _together(2, tmp_path, SPREAD)
    assert begun.failure == other.failure
    assert begun.failure.endswith(
        "continue the run with training.recompute = on, which goes on from its newest checkpoint."
    )
    assert open_run(begun.folder).read_state()["status"] == "failed"
    gone_on, _ = _together(2, tmp_path, SPREAD, before=begun.folder, changes=["training.recompute=on"])
    assert gone_on.status == ["finished"]
    assert begun.losses + gone_on.losses == pytest.approx(alone.losses, abs=1e-5)


@pytest.mark.parametrize("begun_by", [1, 2])
def test_a_checkpoint_of_spread_weights_goes_on_in_one_process_and_the_other_way_round(
    tmp_path: Path, begun_by: int
) -> None:
    sections = _with(retention={"stop_below": 0.01})  # so that the best weights are kept, too
    alone = Told(Trained(tmp_path, sections).go())
    begun = _together(begun_by, tmp_path, sections, until=3)[0]
    gone_on, *others = _together(3 - begun_by, tmp_path, sections, before=begun.folder)
    assert begun.losses + gone_on.losses == pytest.approx(alone.losses, abs=1e-5)
    assert gone_on.validation[-1][0] == pytest.approx(alone.validation[-1][0], abs=1e-5)
    assert gone_on.kept == pytest.approx(alone.kept[-len(gone_on.kept) :], rel=1e-3)
    assert all(other.losses == gone_on.losses for other in others)
    weights, expected = (load_file(told.folder / "adapter" / "model.safetensors") for told in (gone_on, alone))
    assert weights.keys() == expected.keys()
    assert all(torch.allclose(weights[name], expected[name], atol=1e-4) for name in expected)


def test_memory_that_runs_out_in_one_process_ends_all_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are in the middle of a pass. They cannot begin it again with smaller micro-batches."""
    whole = SupervisedLoss.__call__

    def broken(self: SupervisedLoss, batch: MicroBatch, weight: float = 1.0) -> Tensor:
        if os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, batch, weight)

    monkeypatch.setattr(SupervisedLoss, "__call__", broken)
    for told in _together(2, tmp_path, SPREAD):
        assert told.failure.startswith("Memory ran out in one of the 2 processes that share the weights; ")
