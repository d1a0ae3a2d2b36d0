"""Kind 13: a floor of the loss scale that is too high, and weights that are damaged, named like all other modules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from studio.engine.training.trainer import Trainer
from tests.scenarios.framework import FULL, LORA, Scenario
from tests.scenarios.models import blocks, gpt2, llama, neox, qwen2


def floor(name: str, make: Callable[..., PreTrainedModel], scale: float, verdicts: tuple[str, ...] = ()) -> Scenario:
    return Scenario(
        name=f"C13 {name}",
        kind="C13",
        model=make,
        verdicts=verdicts,
        settings={"precision": {"initial_scale": max(scale, 2.0**12), "minimum_scale": scale}, "method": FULL},
        remedies=("lower_floor",) if verdicts else (),
        without=("lower_learning_rate",),
    )


@contextmanager
def damaged(part: str) -> Iterator[None]:
    """Make a weight of the second block nan after the fourth update, as a fault of memory does."""
    attempt, seen = Trainer.attempt, itertools.count(1)

    def with_damage(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        done = attempt(self, *args, **kwargs)
        if next(seen) == 4:
            with torch.no_grad():
                layer = blocks(self.model.base)[1].get_submodule(part)
                getattr(layer, "base_layer", layer).weight[1, 2] = math.nan
        return done

    Trainer.attempt = with_damage
    try:
        yield
    finally:
        Trainer.attempt = attempt


SCENARIOS = [
    floor("llama, a floor far above what fits", llama, 2.0**26, ("scale_collapse",)),
    floor("gpt2, a floor far above what fits", gpt2, 2.0**28, ("scale_collapse",)),
    floor("harmless: qwen2, a floor that fits", qwen2, 2.0**8),
    Scenario(
        name="C13 neox, a frozen weight that breaks under LoRA",
        kind="C13",
        model=neox,
        fault=partial(damaged, "attention.query_key_value"),
        verdicts=("nonfinite_weights",),
        settings={"method": LORA, "precision": {"name": "bf16-mixed"}},
        module="gpt_neox.layers.1.attention.query_key_value",
    ),
    Scenario(
        name="C13 llama, a trained weight that breaks",
        kind="C13",
        model=llama,
        fault=partial(damaged, "mlp.down_proj"),
        verdicts=("nonfinite_weights",),
        settings={"method": FULL, "precision": {"name": "fp32"}},
        module="model.layers.1.mlp.down_proj",
    ),
]
