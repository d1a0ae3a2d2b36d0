"""Kind 10: chronic skipping is a matter of the share of the steps that is skipped, not of how often it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from tests.scenarios.framework import FULL, LORA, Scenario
from tests.scenarios.models import gpt2, llama, opt, qwen2

# All rows in every update and next to no change: gradients stay as they are, and so does the scale that fits.
STILL = {"learning_rate": 1e-6, "batch_size": 18}


def grows(
    name: str,
    make: Callable[..., PreTrainedModel],
    updates: int,
    told: bool,
    method: dict[str, Any] = LORA,
    **scaling: Any,
) -> Scenario:
    return Scenario(
        name=f"C10 {name}",
        kind="C10",
        model=make,
        verdicts=("chronic_overflow",) if told else (),
        settings={
            "precision": {"initial_scale": 2.0**12} | scaling,
            "method": method,
            "training": STILL | {"max_steps": updates},
        },
        remedies=("use_dynamic_scaling",) if told else (),
    )


SCENARIOS = [
    grows("llama, each growth takes eight steps back", llama, 70, True, growth_interval=30, growth_factor=1024.0),
    grows(
        "gpt2, a scale that backs off by little",
        gpt2,
        60,
        True,
        FULL,
        growth_interval=25,
        growth_factor=512.0,
        backoff_factor=0.7,
    ),
    grows("opt, grows after every second update", opt, 40, True, growth_interval=2),
    grows(
        "harmless: qwen2, one growth that takes many steps back",
        qwen2,
        50,
        False,
        initial_scale=2.0**20,  # near what fits: from 2^12 the growth would take one step back
        growth_interval=30,
        growth_factor=1024.0,
    ),
    grows("harmless: llama, a growth that fails now and then", llama, 75, False, FULL, growth_interval=24),
]
