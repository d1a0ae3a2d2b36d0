"""How long a run is: its updates, and how much of its time validation may take. Arithmetic, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.config import RunConfig

AUTOMATIC_EVALUATIONS = 10
# As many held-out rows are measured less often rather than fewer of them as often: a mean over few rows says little.
ENOUGH_ROWS = 32
# So many are measured in any case, before the first update and after the last; in a short run that takes longer than
# it may.
FEWEST_ROWS = 8
# Time of a token in validation, as a share of its time in training. There is no backward pass, which takes as long as
# the forward pass where the base is frozen, and twice as long where it is trained.
TIME_OF_A_TOKEN = 0.5


def updates_per_epoch(config: RunConfig, rows: int) -> int:
    """Return the number of updates in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / config.training.batch_size)


def planned_updates(config: RunConfig, rows: int) -> int:
    """Return the number of updates that a run will apply; `rows` are those of an epoch."""
    return config.training.max_steps or math.ceil(config.training.epochs * updates_per_epoch(config, rows))


def trained_rows(config: RunConfig, rows: int) -> int:
    """Return how many rows all updates of a run learn from together; `rows` are those of an epoch."""
    epochs, updates = divmod(planned_updates(config, rows), updates_per_epoch(config, rows))
    return epochs * rows + updates * config.training.batch_size


@dataclass(frozen=True)
class ValidationPlan:
    """When the held-out rows are measured, and how many of them.

    Attributes:
        every: updates between two measurements; there is one before the first update and one after the last besides.
        passes: how often they are measured; 0 where none is held out.
        rows: how many of them, the same ones every time.
        share: the part of the run that it takes, 0 to 1, as computed from tokens.
    """

    every: int
    passes: int
    rows: int
    share: float


def plan_validation(
    config: RunConfig, updates: int, tokens: float, held_out: int, held_out_tokens: float
) -> ValidationPlan:
    """Measure as much as fits into `training.evaluation_share` of the run.

    Where retention has a bound, it is watched ten times in a run, with as few held-out rows as there is time for.

    Args:
        updates: planned updates.
        tokens: tokens of all of them, padding not counted.
        held_out, held_out_tokens: rows that are held out, and their tokens.
    """
    training = config.training
    every = training.evaluate_every
    if every is None and (not held_out or config.retention.stop_below > 0):
        every = max(1, math.ceil(updates / AUTOMATIC_EVALUATIONS))
    if not held_out:
        return ValidationPlan(every or 1, 0, 0, 0.0)
    per_row = TIME_OF_A_TOKEN * held_out_tokens / held_out
    allowed = math.inf
    if training.evaluation_share < 1:
        allowed = tokens * training.evaluation_share / (1 - training.evaluation_share) / per_row  # rows, of all passes
    if every is None:
        passes = int(min(AUTOMATIC_EVALUATIONS + 1, max(2, allowed / min(held_out, ENOUGH_ROWS))))
        every = math.ceil(updates / (passes - 1))
    passes = 1 + math.ceil(updates / every)
    rows = int(min(held_out, max(FEWEST_ROWS, allowed / passes)))
    time = passes * rows * per_row
    return ValidationPlan(every, passes, rows, time / (time + tokens))
