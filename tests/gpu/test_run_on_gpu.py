"""A whole run on a GPU: journal, samples, checkpoints, located faults, and an export that passes its certificate."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import parse_config, write_config
from studio.engine.control import Control, no_progress
from studio.engine.export.run import export_run
from studio.engine.methods import METHODS
from studio.engine.probe.measure import measure
from studio.engine.training.run import train
from studio.events import (
    CheckpointSaved,
    KernelsChosen,
    NumericsSampled,
    OverflowDiagnosed,
    RunFinished,
    RunPaused,
    RunStarted,
    StepCompleted,
)
from studio.runs import RunFolder, create_run
from tests.tiny import save_model, save_rows


def _tables(tmp_path: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    if not (tmp_path / "model").exists():
        save_model(tmp_path / "model")
        save_rows(tmp_path / "rows.jsonl")
    tables: dict[str, Any] = {
        "model": {"path": str(tmp_path / "model")},
        "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}], "validation_fraction": 0.1},
        "method": {"name": "lora", "rank": 4},
        "precision": {"name": "fp16-mixed"},
        "training": {"batch_size": 4, "max_steps": 12, "learning_rate": 1e-2, "device": "cuda"},
    }
    merged = {name: values | sections.get(name, {}) for name, values in tables.items()}
    return merged | {"method": sections.get("method", tables["method"])}


def _train(tmp_path: Path, **sections: dict[str, Any]) -> tuple[RunFolder, list[Any]]:
    config = parse_config(_tables(tmp_path, **sections))
    folder = create_run(tmp_path / "runs", "gpu", write_config(config))
    events: list[Any] = []
    train(config, folder, Control(), events.append)
    return folder, events


def _of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed", "bf16-pure", "fp16-pure"])
def test_a_run_ends_well_and_learns(tmp_path: Path, precision: str) -> None:
    _, events = _train(tmp_path, precision={"name": precision})
    (started,), (finished,) = _of(events, RunStarted), _of(events, RunFinished)
    steps = [step for step in _of(events, StepCompleted) if not step.skipped]
    assert started.device.startswith("cuda")
    assert (finished.status, finished.update, len(steps)) == ("finished", 12, 12)
    assert steps[-1].loss < steps[0].loss
    assert _of(events, NumericsSampled)
    assert _of(events, CheckpointSaved)
    assert 0 < finished.peak_memory < 2**31
    (chosen,) = _of(events, KernelsChosen)
    assert chosen.kernels == chosen.tried[-1]["kernels"] != "plain"
    assert all(one["outcome"] in ("agreed", "not_installed", "not_for_this_model") for one in chosen.tried)


def test_auto_takes_the_gpu_and_bf16_where_it_has_that(tmp_path: Path) -> None:
    _, events = _train(tmp_path, precision={"name": "auto"}, training={"device": "auto", "max_steps": 2})
    (started,) = _of(events, RunStarted)
    assert started.device.startswith("cuda")
    assert started.precision == ("bf16-mixed" if torch.cuda.is_bf16_supported() else "fp16-mixed")


def test_a_huge_scale_is_searched_down_without_an_alarm(tmp_path: Path) -> None:
    _, events = _train(tmp_path, precision={"initial_scale": 2.0**40})
    steps = _of(events, StepCompleted)
    skipped = [step for step in steps if step.skipped]
    assert skipped
    assert all(math.isfinite(step.loss) for step in skipped)
    halved = [later.grad_scale / step.grad_scale for step, later in itertools.pairwise(steps) if step.skipped]
    assert halved == [0.5] * len(skipped)
    assert {event.verdict for event in _of(events, OverflowDiagnosed)} <= {"scale_search"}


def test_a_run_repeats_bit_for_bit(tmp_path: Path) -> None:
    losses = [[step.loss for step in _of(_train(tmp_path)[1], StepCompleted)] for _ in range(2)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_exports_what_it_trained_here(tmp_path: Path, method: str) -> None:
    from studio.engine.export import TARGETS

    folder, events = _train(tmp_path, method={"name": method}, precision={"name": "bf16-mixed"})
    assert _of(events, RunFinished)[0].status == "finished"
    for target in TARGETS:
        # The hidden states of a random model point everywhere, so that no token can be made unlikely for all of them.
        if target.name != "baked" and not target.refuse(METHODS.get(method)):
            result = export_run(folder, target.name, "fp32" if "fp32" in target.dtypes else "auto")
            assert result.passed, [check for check in result.checks if not check.passed]


def test_the_probe_compares_precisions(tmp_path: Path) -> None:
    config = parse_config(_tables(tmp_path))
    reference = tmp_path / "reference.safetensors"
    found = [
        measure(config, name, 3, reference, no_progress) for name in ("fp32", "fp16-mixed", "bf16-mixed", "bf16-pure")
    ]
    assert [row.status for row in found] == ["measured"] * 4
    assert all(row.gradient_cosine is None or row.gradient_cosine > 0.99 for row in found)


@pytest.mark.parametrize("base_dtype", ["auto", "nf4", "int8"])
def test_a_pause_gives_the_gpu_back_and_changes_no_bit(tmp_path: Path, base_dtype: str) -> None:
    free: list[int] = []

    class PausedOnce(Control):
        left = 0

        def hear(self, event: Any) -> None:
            if isinstance(event, StepCompleted) and event.step == 2:
                self.left = 1

        @property
        def pause_requested(self) -> bool:
            self.left -= 1
            return self.left == 0

        def wait_while_paused(self) -> None:
            free.append(torch.cuda.memory_reserved())
            torch.rand(7, device="cuda")

    def losses(control: Control) -> list[float]:
        tables = _tables(tmp_path, precision={"base_dtype": base_dtype}) | {"retention": {"measure": False}}
        config = parse_config(tables)
        events: list[Any] = []

        def emit(event: Any) -> None:
            events.append(event)
            if isinstance(control, PausedOnce):
                control.hear(event)

        train(config, create_run(tmp_path / "runs", "gpu", write_config(config)), control, emit)
        assert [event.released > 0 for event in _of(events, RunPaused)] == [True] * isinstance(control, PausedOnce)
        return [event.loss for event in _of(events, StepCompleted)]

    unbroken = losses(Control())
    assert losses(PausedOnce()) == unbroken
    assert free[0] < 8 << 20  # a few scalars
