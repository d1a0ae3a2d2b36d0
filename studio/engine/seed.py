"""Randomness: a step draws from the run's seed and its own number, and from nothing else.

So a resume has no generator state to restore, and nothing that draws between two steps (an evaluation, a
preview) can change a run.
"""

from __future__ import annotations


def seed_step(seed: int, step: int) -> None:
    """Seed torch's generators for one attempted step; `step` 0 is the initialisation of the trained weights."""
    import torch

    # An odd multiplier keeps (seed, step) pairs apart; torch takes seeds modulo 2^64.
    torch.manual_seed((seed * 0x9E3779B97F4A7C15 + step) % 2**63)
