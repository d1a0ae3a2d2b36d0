"""Kind 6: gradients that fp16 makes zero: the window shows of a sample what the verdict on it says."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from studio.runner.numerics import share_lost
from tests.scenarios.framework import FULL, LORA, Outcome, Scenario
from tests.scenarios.models import MODELS

FINAL_NORM = {"gpt2": "transformer.ln_f", "opt": "model.decoder.final_layer_norm", "llama": "model.norm"}


def faint(family: str) -> PreTrainedModel:
    """Return a model whose last norm makes all gradients behind it a hundred thousand times smaller."""
    model = MODELS[family]()
    with torch.no_grad():
        model.get_parameter(f"{FINAL_NORM[family]}.weight").mul_(1e-5)
    return model


def same_share(outcome: Outcome) -> str:
    told = next(verdict for verdict in outcome.verdicts if verdict.harmful)
    shown = share_lost(outcome.samples[told.step], "fp16")
    return "" if shown == told.evidence["share"] else f"shown {shown}, told {told.evidence['share']}"


def little_lost(outcome: Outcome) -> str:
    shown = [share_lost(sample, "fp16") for sample in outcome.samples.values()]
    return "" if shown and all(share is not None and share < 0.2 for share in shown) else f"shown {shown}"


def scenario(family: str, method: dict[str, Any], name: str, **precision: Any) -> Scenario:
    lost = precision["loss_scaling"] == "off"
    return Scenario(
        name=f"C6 {name}",
        kind="C6",
        model=partial(faint, family),
        verdicts=("underflow",) if lost else (),
        settings={
            "data": {"train_on": "all"},
            "numerics": {"every": 2},
            "method": method,
            "precision": precision,
            "training": {"max_steps": 8},
        },
        remedies=("use_dynamic_scaling",) if lost else (),
        check=same_share if lost else little_lost,
    )


SCENARIOS = [
    scenario("gpt2", LORA, "gpt2 LoRA", loss_scaling="off"),
    scenario("opt", FULL, "opt, all weights", loss_scaling="off"),
    scenario("llama", {"name": "bottleneck-adapter"}, "llama, adapters", loss_scaling="off"),
    scenario("opt", FULL, "harmless: opt at a larger scale", loss_scaling="static", initial_scale=2.0**17),
]
