"""Stochastic rounding to bf16: up or down at random, so that the mean of many roundings is the number itself.

Rounding to the nearest loses every update below half the step between two bf16 numbers, each time anew. Rounding up
with the probability of the remainder loses none on average (Gupta et al. 2015, arXiv 1502.02551, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LOST_BITS = 16  # bits of detail that fp32 has and bf16 has not; the exponents are the same


def round_stochastically(wide: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return finite fp32 numbers of any shape as bf16, rounded up in magnitude with the probability of the remainder.

    A bf16 number is the upper half of an fp32 number's bits. The lower half, as an integer below 2^16, is the
    remainder: the share of the way to the next bf16 number.
    """
    import torch

    # Added to the bits, the noise carries into the kept ones as often as the remainder asks for.
    noise = torch.randint(1 << _LOST_BITS, wide.shape, dtype=torch.int32, device=wide.device, generator=generator)
    bits = (wide.view(torch.int32) + noise) & -(1 << _LOST_BITS)
    return bits.view(torch.float32).bfloat16()
