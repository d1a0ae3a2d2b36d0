"""The learning rate as a pure function of the applied updates, so that a skipped step cannot advance it."""

from __future__ import annotations

import math

from studio.config import TrainingConfig


def learning_rate(config: TrainingConfig, update: int, total: int) -> float:
    """Return the rate of the update that follows `update` applied ones, of `total` planned.

    Linear warm-up over the first `warmup_ratio` of the updates, then constant, or a line or half a cosine to zero.
    """
    warmup = math.ceil(config.warmup_ratio * total)
    if update < warmup:
        return config.learning_rate * (update + 1) / (warmup + 1)
    passed = min(1.0, (update - warmup) / max(1, total - warmup))
    shape = {"constant": 1.0, "linear": 1.0 - passed, "cosine": 0.5 * (1.0 + math.cos(math.pi * passed))}
    return config.learning_rate * shape[config.schedule]
