"""Kind 3: weights of 16 bits that do not feel their updates, in runs as short as people try first; default settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from tests.scenarios.framework import FULL, Outcome, Scenario
from tests.scenarios.models import gpt2, llama, neox, qwen2

MIXED = ("use_bf16",)


def stalls(name: str, make: Callable[..., PreTrainedModel], precision: str = "bf16-pure", **training: Any) -> Scenario:
    # Weights are about 0.02, of which bf16 keeps steps of 1e-4 and fp16 of 1e-5: an update of a tenth of that is lost.
    settings = {"precision": {"name": precision}, "method": FULL, "training": {"learning_rate": 1e-5} | training}
    return Scenario(
        name=f"C3 {name}", kind="C3", model=make, verdicts=("bf16_stall",), settings=settings, remedies=MIXED
    )


def learns(outcome: Outcome) -> str:
    first, last = outcome.steps[0].loss, outcome.steps[-1].loss
    return "" if last < first - 0.3 else f"the loss went from {first:.2f} to {last:.2f}"


def moves(name: str, make: Callable[..., PreTrainedModel], rate: float, **precision: Any) -> Scenario:
    settings = {"precision": {"name": "bf16-pure"} | precision, "method": FULL, "training": {"learning_rate": rate}}
    return Scenario(name=f"C3 harmless: {name}", kind="C3", model=make, settings=settings, check=learns)


SCENARIOS = [
    stalls("llama, sixteen updates", llama),
    stalls("gpt2, forty updates, a long warm-up", gpt2, max_steps=40, warmup_ratio=0.3),
    stalls("neox, twelve updates, constant rate", neox, max_steps=12, schedule="constant"),
    stalls("qwen2, fp16", qwen2, "fp16-pure", learning_rate=5e-7, max_steps=24),
    moves("llama, a rate that bf16 feels", llama, 3e-3),
    moves("gpt2, a rate that bf16 does not feel at the ends of its schedule", gpt2, 2e-3),
]
