"""Kind 12: gradients that are zero by nature, because nothing can flow, are no underflow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from tests.scenarios.framework import FULL, LORA, Scenario
from tests.scenarios.models import blocks, gpt2, llama, opt

OFTEN = {"every": 2}


def cut(make: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    """Return a model whose output layer is zero: no gradient reaches what lies before it."""
    model = make(tie_word_embeddings=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    return model


def dead(model: PreTrainedModel) -> PreTrainedModel:
    """Return an OPT whose feed-forward layers are all switched off by their ReLU."""
    with torch.no_grad():
        for block in blocks(model):
            block.fc1.bias.fill_(-50.0)
    return model


def small(model: PreTrainedModel) -> PreTrainedModel:
    """Return a GPT-2 whose gradients, all but the output layer's, lie below the range of fp16."""
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(1e-5)
    return model


SCENARIOS = [
    Scenario(
        name="C12 harmless: llama, LoRA behind an output layer of zeros",
        kind="C12",
        model=lambda: cut(llama),
        settings={"method": LORA, "numerics": OFTEN},
    ),
    Scenario(
        name="C12 harmless: gpt2, LoRA behind an output layer of zeros, without scaling",
        kind="C12",
        model=lambda: cut(gpt2),
        settings={"method": LORA, "numerics": OFTEN, "precision": {"loss_scaling": "off"}},
    ),
    Scenario(
        name="C12 harmless: opt, all weights, units that are switched off",
        kind="C12",
        model=lambda: dead(opt()),
        settings={"method": FULL, "numerics": OFTEN, "training": {"learning_rate": 1e-4}},
    ),
    Scenario(
        name="C12 gpt2, gradients that fp16 does flush",
        kind="C12",
        model=lambda: small(gpt2()),
        verdicts=("underflow",),
        settings={"precision": {"loss_scaling": "off"}, "numerics": OFTEN, "training": {"max_steps": 8}},
        remedies=("use_dynamic_scaling",),
    ),
]
