"""The probe measures what a run would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from studio.config import RunConfig, parse_config, write_config
from studio.engine.control import Control, no_progress
from studio.engine.probe.measure import compare_gradients, in_precision, measure, sample_gradients, subnormal_share
from studio.engine.probe.recommend import ProbeRow
from studio.engine.training import run
from studio.errors import ConfigError, DataError
from studio.events import StepCompleted
from studio.runs import create_run
from tests.tiny import llama, save_model, save_rows, tokenizer

LORA = {"name": "lora", "rank": 4}


def _config(folder: Path, **sections: dict[str, Any]) -> RunConfig:
    if not (folder / "model").exists():
        save_model(folder / "model")
    save_rows(folder / "rows.jsonl")
    tables: dict[str, Any] = {
        "model": {"path": str(folder / "model")},
        "data": {"sources": [{"path": str(folder / "rows.jsonl")}], "validation_fraction": 0.1},
        "training": {"batch_size": 4, "learning_rate": 1e-2, "device": "cpu"},
    }
    merged = {name: tables.get(name, {}) | values for name, values in sections.items() if name != "method"}
    return parse_config(tables | merged | {"method": sections.get("method", LORA)})


def _measure(config: RunConfig, name: str, folder: Path, steps: int = 2) -> ProbeRow:
    return measure(config, name, steps, folder / "reference.safetensors", no_progress)


def _losses_of_a_run(config: RunConfig, name: str, folder: Path) -> list[float]:
    tables = in_precision(config, name).model_dump(exclude_none=True)
    tables["training"] |= {"schedule": "constant", "warmup_ratio": 0.0, "max_steps": 3}
    config = parse_config(tables)
    events: list[Any] = []
    run.train(config, create_run(folder / "runs", "run", write_config(config)), Control(), events.append)
    return [event.loss for event in events if isinstance(event, StepCompleted)]


@pytest.mark.parametrize("name", ["fp32", "bf16-mixed", "fp16-mixed", "bf16-pure"])
def test_the_losses_are_those_of_the_run_itself_dropout_included(name: str, tmp_path: Path) -> None:
    config = _config(tmp_path)
    row = _measure(config, name, tmp_path, steps=3)
    assert list(row.losses) == _losses_of_a_run(config, name, tmp_path)
    assert (row.status, row.attempts) == ("measured", 3)
    assert row.tokens_per_second is not None
    assert row.tokens_per_second > 0
    assert row.peak_memory is not None
    assert row.peak_memory > 1e8


def test_every_precision_is_held_against_fp32_from_the_same_start(tmp_path: Path) -> None:
    config = _config(tmp_path)
    rows = {name: _measure(config, name, tmp_path) for name in ("fp32", "bf16-mixed", "fp16-mixed")}
    exact, bf16, fp16 = rows.values()
    assert (exact.loss_difference, exact.gradients_lost) == (0.0, 0.0)
    assert exact.gradient_cosine == pytest.approx(1.0, abs=1e-12)
    for row in (bf16, fp16):
        expected = [abs(a - b) / b for a, b in zip(row.losses, exact.losses, strict=True)]
        assert row.loss_differences == pytest.approx(expected, rel=1e-9)
    assert bf16.gradient_cosine is not None
    assert fp16.gradient_cosine is not None
    # fp16 has three bits of detail more.
    assert 0.999 < bf16.gradient_cosine < fp16.gradient_cosine < 1.0
    assert bf16.gradients_subnormal is None
    assert fp16.gradients_subnormal is not None
    assert (exact.remark, bf16.remark) == ("", "")
    assert fp16.remark == "fp16_on_processor"


def test_the_reference_is_the_gradient_of_the_loss_by_the_trained_weights(tmp_path: Path) -> None:
    config = _config(tmp_path, method={"name": "full"}, training={"batch_size": 20, "max_grad_norm": 0.0})
    row = _measure(config, "fp32", tmp_path, steps=1)
    gradient = load_file(tmp_path / "reference.safetensors")["gradient"].double()
    model = llama()
    before = row.losses[0]
    # A step of 1e-3 against the gradient lowers the loss by 1e-3 times its squared length.
    place = 0
    with torch.no_grad():
        for parameter in model.parameters():
            step = gradient[place : place + parameter.numel()].view_as(parameter)
            parameter -= 1e-3 * step.float()
            place += parameter.numel()
    assert place == len(gradient)
    model.save_pretrained(tmp_path / "moved")
    tokenizer().save_pretrained(tmp_path / "moved")
    tables = config.model_dump(exclude_none=True)
    tables["model"]["path"] = str(tmp_path / "moved")
    after = _measure(parse_config(tables), "fp32", tmp_path / "moved", steps=1).losses[0]
    assert before - after == pytest.approx(1e-3 * float(gradient @ gradient), rel=0.05)


def test_a_weight_beyond_fp16_is_named_as_the_place_where_fp16_fails(tmp_path: Path) -> None:
    model = llama()
    planted = "model.layers.1.mlp.up_proj"
    weight = model.get_submodule(planted).weight
    assert isinstance(weight, nn.Parameter)
    weight.data.mul_(1e7)
    model.save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    config = _config(tmp_path, precision={"base_dtype": "fp32"})
    row = _measure(config, "fp16-mixed", tmp_path)
    assert (row.status, row.finite, row.direction, row.module) == ("not_finite", False, "forward", planted)
    assert planted in row.sentence
    assert row.losses == ()
    assert _measure(config, "bf16-mixed", tmp_path).status == "measured"


def test_a_scale_that_is_searched_for_is_no_failure(tmp_path: Path) -> None:
    config = _config(tmp_path, precision={"initial_scale": 2.0**40})
    row = _measure(config, "fp16-mixed", tmp_path)
    assert row.status == "measured"
    assert row.attempts > 2
    assert row.grad_scale is not None
    assert row.grad_scale < 2.0**40


def test_a_fixed_scale_that_is_too_large_is_a_failure_in_the_backward_pass(tmp_path: Path) -> None:
    config = _config(tmp_path, precision={"loss_scaling": "static", "initial_scale": 2.0**40})
    row = _measure(config, "fp16-mixed", tmp_path)
    assert (row.status, row.direction, row.attempts) == ("not_finite", "backward", 1)


def test_updates_that_pure_bf16_loses_are_counted_unless_rounding_is_stochastic(tmp_path: Path) -> None:
    rate = {"learning_rate": 1e-6}
    plain = _measure(_config(tmp_path, method={"name": "full"}, training=rate), "bf16-pure", tmp_path)
    assert plain.updates_lost is not None
    assert plain.updates_lost > 0.9
    lora = _measure(_config(tmp_path, training=rate), "bf16-pure", tmp_path)
    assert lora.updates_lost is not None
    assert 0.2 < lora.updates_lost < 0.8  # one of the two matrices began at zero, where small steps count
    rounded = _config(
        tmp_path,
        method={"name": "full"},
        training=rate,
        precision={"name": "bf16-pure", "stochastic_rounding": True},
    )
    assert _measure(rounded, "bf16-pure", tmp_path).updates_lost is None
    # What belongs to the one precision does not stand in the way of the others.
    assert _measure(rounded, "fp32", tmp_path).status == "measured"
    assert plain.remark == "bf16_weights_lose_updates"


def test_a_precision_that_the_settings_contradict_is_listed_with_the_reason(tmp_path: Path) -> None:
    config = _config(tmp_path, precision={"name": "fp32", "minimum_scale": 1024.0, "initial_scale": 2.0})
    row = _measure(config, "fp16-mixed", tmp_path)
    assert (row.status, row.finite) == ("unavailable", None)
    assert "precision.minimum_scale" in row.sentence


def test_what_is_wrong_in_every_precision_ends_the_probe(tmp_path: Path) -> None:
    config = _config(tmp_path, data={"sources": [{"path": str(tmp_path / "missing.jsonl")}]})
    with pytest.raises(DataError, match=r"missing\.jsonl"):
        _measure(config, "fp32", tmp_path)
    with pytest.raises(ConfigError, match="no_such_layer"):
        _measure(_config(tmp_path, method=LORA | {"target_modules": ["no_such_layer"]}), "fp32", tmp_path)


def test_gradients_are_compared_as_by_hand() -> None:
    cosine, lost = compare_gradients(torch.tensor([1.0, 0.0, 2.0, 0.0]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert cosine == pytest.approx(1 / (5**0.5 * 2**0.5))
    assert lost == 0.5
    assert compare_gradients(torch.zeros(2), torch.zeros(2)) == (None, None)
    # At scale 2 the edge between normal and subnormal is 2⁻¹⁵: one entry of the three that fp32 has is below.
    gradient = torch.tensor([2.0**-15, 2.0**-16, 0.0, 2.0**-20])
    reference = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert subnormal_share(gradient, 2.0, reference) == pytest.approx(1 / 3)


def test_of_many_gradients_the_same_evenly_spread_ones_are_looked_at() -> None:
    parameter = nn.Parameter(torch.zeros(40, 30))
    parameter.grad = torch.arange(1200.0).view(40, 30)
    some = sample_gradients([parameter], most=100)
    assert len(some) <= 100
    assert torch.equal(some, sample_gradients([parameter], most=100))
    assert len({int(value) % 30 for value in some}) == 30
    assert torch.equal(sample_gradients([parameter]), parameter.grad.flatten())
