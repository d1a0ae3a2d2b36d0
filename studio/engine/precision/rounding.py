"""Stochastic rounding to bf16: up or down at random, so that the mean of many roundings is the number itself.

Rounding to the nearest loses every update below half the step between two bf16 numbers, each time anew. Rounding up
with the probability of the remainder loses none on average (Gupta et al. 2015, arXiv 1502.02551, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LOST_BITS = 16  # fp32 has so many bits of detail more than bf16, and the same exponent


def round_stochastically(wide: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return finite fp32 numbers as bf16, rounded up in magnitude with the probability of what would be cut off."""
    import torch

    # Added to the bits, the noise carries into the kept ones as often as the remainder asks for.
    noise = torch.randint(1 << _LOST_BITS, wide.shape, dtype=torch.int32, device=wide.device, generator=generator)
    bits = (wide.view(torch.int32) + noise) & -(1 << _LOST_BITS)
    return bits.view(torch.float32).bfloat16()
