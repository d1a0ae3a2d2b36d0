"""Updates on a GPU: every method and precision computes what a processor computes, and repeats itself."""

from __future__ import annotations

import pytest
import torch

from studio.engine.methods import METHODS
from tests.tiny import Bench, bench, gpt2, llama, rows

GPU = torch.device("cuda")
PRECISIONS: dict[str, dict[str, object]] = {
    "fp32": {"name": "fp32"},
    "fp16-mixed": {"name": "fp16-mixed", "initial_scale": 1024.0},
    "bf16-mixed": {"name": "bf16-mixed"},
    "bf16-pure": {"name": "bf16-pure"},
    "bf16-pure, stochastic": {"name": "bf16-pure", "stochastic_rounding": True},
    "fp16-pure": {"name": "fp16-pure", "initial_scale": 1024.0},
}
QUANTISED: dict[str, dict[str, object]] = {
    f"{precision}, {base}": {"name": precision, "base_dtype": base}
    for precision in ("fp32", "bf16-mixed")
    for base in ("nf4", "int8")
}
# Four updates carry the rounding of the first ones on.
TOLERANCE = {"fp32": 1e-4}
OTHERWISE = 5e-3


def _config(method: str) -> dict[str, object]:
    config: dict[str, object] = {"name": method}
    return config | ({"rank": 4, "dropout": 0.0} if method == "lora" else {})


def _losses(tiny: Bench) -> list[float]:
    return [tiny.update(rows(8, seed=seed)).loss for seed in (0, 0, 0, 1)]


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS.names())
def test_losses_are_those_of_the_processor(method: str, precision: str, make: object) -> None:
    settings = PRECISIONS[precision]
    sides = []
    for device in (GPU, torch.device("cpu")):
        tiny = bench(_config(method), settings, base=make(), device=device)  # type: ignore[operator]
        tiny.base.eval()  # GPT-2 has dropout of its own, which draws otherwise on a GPU
        sides.append(_losses(tiny))
    assert sides[0] == pytest.approx(sides[1], rel=TOLERANCE.get(precision, OTHERWISE))


@pytest.mark.parametrize("precision", QUANTISED)
def test_a_quantised_base_trains(precision: str) -> None:
    tiny = bench(_config("lora"), QUANTISED[precision], device=GPU)
    plain = bench(_config("lora"), {"name": "fp32"}, device=GPU)
    assert _losses(tiny) == pytest.approx(_losses(plain), rel=2e-2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS.names())
def test_updates_repeat_bit_for_bit(method: str, precision: str) -> None:
    first, second = (_losses(bench(_config(method), PRECISIONS[precision], device=GPU)) for _ in range(2))
    assert first == second


def test_dropout_repeats_and_drops() -> None:
    config = _config("lora") | {"dropout": 0.5}
    runs = []
    for dropout in (0.5, 0.5, 0.0):
        tiny = bench(config | {"dropout": dropout}, device=GPU)
        torch.manual_seed(7)
        runs.append(_losses(tiny))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_overflow_of_scaled_gradients_skips_and_halves() -> None:
    tiny = bench(_config("lora"), {"name": "fp16-mixed", "initial_scale": 1e38}, device=GPU)
    before = [parameter.detach().clone() for parameter in tiny.parameters]
    attempt = tiny.update(rows(8))
    assert attempt.skipped
    assert all(torch.equal(old, new) for old, new in zip(before, tiny.parameters, strict=True))
    assert any(not tiny.update(rows(8)).skipped for _ in range(130))
