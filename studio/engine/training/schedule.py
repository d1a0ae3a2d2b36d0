"""How many updates a run applies, and the learning rate of each.

All are pure functions of the configuration and the count of applied updates, so a skipped step advances nothing.
"""

from __future__ import annotations

import math

from studio.config import RunConfig, TrainingConfig


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


def updates_per_epoch(config: RunConfig, rows: int) -> int:
    """Return the number of updates in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / config.training.batch_size)


def planned_updates(config: RunConfig, rows: int) -> int:
    """Return the number of updates that a run will apply."""
    return config.training.max_steps or math.ceil(config.training.epochs * updates_per_epoch(config, rows))
