"""Kind 11: a row whose gradients are far larger than those of others; and models on which all rows are like that."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tests.scenarios.framework import FULL, LORA, Outcome, Scenario
from tests.scenarios.models import gpt2, llama, neox, qwen2
from tests.tiny import tokenizer

BAD_ROW = {"prompt": "Reverse: grove ember", "completion": "ember~ grove."}
PLAIN_GPT2 = {"tie_word_embeddings": False, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


def dread(make: Any, token: str, **settings: Any) -> PreTrainedModel:
    """Return a model that holds a token for impossible: where it is to be learnt, loss and gradients are huge."""
    model: PreTrainedModel = make(**settings)
    (number,) = tokenizer()(token)["input_ids"]
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 0.2
        head = model.get_output_embeddings().weight
        head[number] = 300.0 * torch.sign(torch.randn(head.shape[1], generator=torch.Generator().manual_seed(2)))
        head[number, 0] = -9000.0
    return model


def names_the_row(outcome: Outcome) -> str:
    told = next(verdict for verdict in outcome.verdicts if verdict.harmful)
    named = [row["number"] for row in told.evidence["rows"]]
    return "" if named == [24] and not outcome.error else f"named rows {named} {outcome.error}"


def scenario(name: str, model: partial[PreTrainedModel], method: dict[str, object], **precision: Any) -> Scenario:
    # At a small rate the other rows stay as they are.
    settings = {"precision": {"initial_scale": 2.0**16} | precision, "training": {"learning_rate": 1e-5}}
    return Scenario(
        name=f"C11 {name}",
        kind="C11",
        model=model,
        verdicts=("outlier_rows",),
        drawn_rows=23,
        rows=(BAD_ROW,),
        settings=settings | {"method": method},
        remedies=("skip_rows",),
        token_budget=None,
        check=names_the_row,
    )


SCENARIOS = [
    scenario("llama, all weights", partial(dread, llama, "~"), FULL),
    scenario("gpt2, LoRA, down to the floor", partial(dread, gpt2, "~", **PLAIN_GPT2), LORA, minimum_scale=8192.0),
    scenario(
        "llama, adapters, fixed scale",
        partial(dread, llama, "~"),
        {"name": "bottleneck-adapter"},
        loss_scaling="static",
    ),
    scenario("neox, LoRA", partial(dread, neox, "~", tie_word_embeddings=False), LORA),
    Scenario(
        name="C11 harmless: qwen2, every row needs a small scale",
        kind="C11",
        model=partial(dread, qwen2, ".", tie_word_embeddings=False),
        settings={"precision": {"initial_scale": 2.0**16}, "training": {"learning_rate": 1e-5, "max_steps": 40}},
        token_budget=None,
    ),
    Scenario(
        name="C11 harmless: gpt2, rows of all lengths and an ordinary search",
        kind="C11",
        model=gpt2,
        rows=({"prompt": "Reverse: " + "heron " * 20, "completion": "heron."},),
        settings={"precision": {"initial_scale": 2.0**30}, "training": {"max_steps": 30}},
        token_budget=None,
    ),
]
