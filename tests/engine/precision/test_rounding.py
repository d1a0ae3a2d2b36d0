"""Stochastic rounding: to one of the two neighbours, and on average to the number itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.engine.training.optimizer import round_stochastically

MANY = 200_000


def _round(wide: Tensor, seed: int = 0) -> Tensor:
    return round_stochastically(wide, torch.Generator().manual_seed(seed))


def _below(wide: Tensor) -> Tensor:
    """The neighbour in bf16 towards zero: the bits are cut off."""
    return (wide.view(torch.int32) & -65536).view(torch.float32)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("remainder", [0.01, 0.25, 0.5, 0.9])
def test_a_number_is_rounded_up_as_often_as_its_remainder_says(remainder: float, sign: float) -> None:
    step = 2.0**-7  # between two bf16 numbers above 1
    rounded = _round(torch.full((MANY,), sign * (1.0 + remainder * step))).float().abs()
    assert set(rounded.unique().tolist()) == {1.0, 1.0 + step}
    up = float((rounded > 1.0).double().mean())
    assert up == pytest.approx(remainder, abs=5 * (remainder * (1 - remainder) / MANY) ** 0.5)


@pytest.mark.parametrize("size", [1e-39, 1e-20, 1.0, 1e20])
def test_rounding_is_unbiased_at_every_magnitude(size: float) -> None:
    wide = torch.randn(MANY, generator=torch.Generator().manual_seed(1)) * size
    error = (_round(wide).double() - wide.double()) / size
    assert float(error.mean().abs()) < 5 * float(error.std()) / MANY**0.5


def test_the_result_is_one_of_the_two_neighbours() -> None:
    wide = torch.randn(MANY, generator=torch.Generator().manual_seed(2))
    rounded, below = _round(wide).float(), _below(wide)
    above = (below.view(torch.int32) + 65536).view(torch.float32)
    assert bool(((rounded == below) | (rounded == above)).all())
    assert bool((rounded == below).any())
    assert bool((rounded == above).any())


def test_what_bf16_can_hold_is_left_as_it_is() -> None:
    exact = torch.randn(MANY, generator=torch.Generator().manual_seed(3)).bfloat16()
    assert torch.equal(_round(exact.float()), exact)


def test_the_same_seed_rounds_the_same_way_and_another_seed_another() -> None:
    wide = torch.randn(MANY, generator=torch.Generator().manual_seed(4))
    assert torch.equal(_round(wide, seed=7), _round(wide, seed=7))
    assert not torch.equal(_round(wide, seed=7), _round(wide, seed=8))
