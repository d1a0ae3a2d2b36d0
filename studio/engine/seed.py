"""Randomness: a step draws from the run's seed and its own number, and from nothing else.

So a resume has no generator state to restore, and nothing that draws between two steps (an evaluation, a
preview) can change a run.
"""

from __future__ import annotations


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's generators for one attempted step; `step` 0 is the initialisation of the trained weights.

    `rank` is the number of the process, among those that train together: each drops other numbers.
    """
    import torch

    torch.manual_seed(step_seed(seed, step) ^ (rank << 48))


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step's own generator; negative steps are streams beside those of the steps."""
    # An odd multiplier keeps (seed, step) pairs apart; torch takes seeds modulo 2^64.
    return (seed * 0x9E3779B97F4A7C15 + step) % 2**63
