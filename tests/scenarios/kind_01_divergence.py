"""Kind 1: the loss rises far above where it began, in the first updates or later, with gradients of ordinary size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tests.scenarios.framework import FULL, LORA, Outcome, Scenario
from tests.scenarios.models import gpt2, llama, neox, opt, qwen2

# Weights are about 0.02 and AdamW moves each by the rate, so that updates of 1 replace the model at once, with signs
# for weights. Its loss is several times that of a guess then, whatever the last bits are.
RUINOUS = {"learning_rate": 1.0, "warmup_ratio": 0.0, "schedule": "constant", "max_steps": 30}
LOWER = ("lower_learning_rate",)


def diverging(
    name: str,
    make: Callable[..., PreTrainedModel],
    precision: dict[str, Any],
    method: dict[str, Any] = FULL,
    **training: Any,
) -> Scenario:
    settings = {"precision": precision, "method": method, "training": RUINOUS | training}
    return Scenario(
        name=f"C1 {name}",
        kind="C1",
        model=make,
        verdicts=("divergence",),
        settings=settings,
        remedies=LOWER,
        check=ordinary,
    )


def healthy(
    name: str, make: Callable[..., PreTrainedModel], check: Callable[[Outcome], str], **settings: Any
) -> Scenario:
    return Scenario(name=f"C1 {name}", kind="C1", model=make, settings=settings, check=check)


def ordinary(outcome: Outcome) -> str:
    """The gradients are not long, or it would be an explosion."""
    norms = sorted(step.grad_norm for step in outcome.steps)
    return "" if norms[len(norms) // 2] < 90 else f"norms are {norms[len(norms) // 2]:g}"


def rises_for_a_while(outcome: Outcome) -> str:
    losses = [step.loss for step in outcome.steps]
    planted = max(losses) > losses[0] + 0.2 and losses[-1] < losses[0]
    return "" if planted else f"losses {losses[0]:.2f}, up to {max(losses):.2f}, {losses[-1]:.2f} at the end"


def scatters(outcome: Outcome) -> str:
    losses = [step.loss for step in outcome.steps]
    return "" if max(losses) > min(losses) + 2 else f"losses {min(losses):.2f} to {max(losses):.2f}"


def knowing(make: Callable[..., PreTrainedModel], token: int = 35) -> PreTrainedModel:
    """Return a model that expects one token everywhere: rows with it have low losses, all others high ones."""
    model = make(tie_word_embeddings=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 3.0
        model.get_output_embeddings().weight[:, 0] = 0.0
        model.get_output_embeddings().weight[token, 0] = 2.0
    return model


EASY = tuple({"prompt": "Repeat", "completion": " " + "A" * 20} for _ in range(20))

SCENARIOS = [
    diverging("llama, all weights, at once", llama, {"name": "fp32"}),
    diverging("qwen2, all weights, bf16", qwen2, {"name": "bf16-mixed"}),
    diverging("opt, all weights, after a warm-up", opt, {"name": "fp32"}, warmup_ratio=0.1, max_steps=40),
    diverging("neox, a run too short for twenty steps", neox, {"name": "bf16-mixed"}, max_steps=10),
    diverging("gpt2, stochastic rounding", gpt2, {"name": "bf16-pure", "stochastic_rounding": True}, learning_rate=0.5),
    healthy(
        "harmless: a high rate that makes the loss rise for a while",
        llama,
        rises_for_a_while,
        precision={"name": "fp32"},
        method=FULL,
        training={"learning_rate": 0.1, "warmup_ratio": 0.0, "schedule": "cosine", "max_steps": 40},
    ),
    Scenario(
        name="C1 harmless: rows of which some are known and some are not, one at a time",
        kind="C1",
        model=partial(knowing, llama),
        rows=EASY,
        drawn_rows=20,
        settings={
            "precision": {"name": "fp32"},
            "method": LORA,
            "training": {"batch_size": 1, "learning_rate": 1e-6, "max_steps": 80},
        },
        check=scatters,
    ),
]
