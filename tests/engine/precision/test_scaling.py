"""The loss scale follows what torch's GradScaler does, except that it has a floor."""

from __future__ import annotations

import pytest
import torch

from studio.config import PrecisionConfig
from studio.engine.precision import PRECISIONS
from studio.engine.precision.scaling import LossScaler, make_scaler

FP16 = PRECISIONS.get("fp16-mixed")


def _torch_scales(config: PrecisionConfig, overflows: list[bool]) -> list[float]:
    scaler = torch.amp.GradScaler(
        "cpu",
        init_scale=config.initial_scale,
        growth_factor=config.growth_factor,
        backoff_factor=config.backoff_factor,
        growth_interval=config.growth_interval,
    )
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scales = []
    for overflow in overflows:
        scaler.scale(torch.ones(1))  # creates the scale lazily
        weight.grad = torch.full((1,), float("inf") if overflow else 1.0)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


# "T" overflows, "F" does not. The second one ends a streak of two good updates before it reaches the interval of three.
@pytest.mark.parametrize("letters", ["TTFFFTFFFFFFT", "FFTFFF", "FFTFFTFFF", "FFFFTFFFF"])
def test_the_scale_follows_torchs_grad_scaler_through_overflow_and_growth(letters: str) -> None:
    config = PrecisionConfig(name="fp16-mixed", initial_scale=65536.0, growth_interval=3)
    pattern = [letter == "T" for letter in letters]
    scaler = make_scaler(FP16, config)
    assert scaler is not None
    scales = []
    for overflow in pattern:
        scaler.update(overflow)
        scales.append(scaler.scale)
    assert scales == _torch_scales(config, pattern)


def test_the_scale_never_falls_below_its_floor() -> None:
    scaler = LossScaler(PrecisionConfig(initial_scale=16.0, minimum_scale=2.0), 16.0)
    for _ in range(100):
        scaler.update(overflowed=True)
    assert scaler.scale == 2.0
    assert not scaler.can_back_off


def test_the_scale_never_grows_beyond_fp32() -> None:
    scaler = LossScaler(PrecisionConfig(growth_interval=1), 3e38)
    scaler.update(overflowed=False)
    assert scaler.scale == 3e38


def test_a_static_scale_stays() -> None:
    scaler = make_scaler(FP16, PrecisionConfig(loss_scaling="static", initial_scale=1024.0))
    assert scaler is not None
    for overflow in (True, False, True):
        scaler.update(overflow)
    assert scaler.scale == 1024.0


@pytest.mark.parametrize(("name", "scaling"), [("fp32", "dynamic"), ("bf16-mixed", "static"), ("fp16-mixed", "off")])
def test_without_need_or_when_switched_off_nothing_is_scaled(name: str, scaling: str) -> None:
    config = PrecisionConfig.model_validate({"loss_scaling": scaling})
    assert make_scaler(PRECISIONS.get(name), config) is None
