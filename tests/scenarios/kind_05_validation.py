"""Kind 5: activations that overflow on held-out rows alone, while training is in order; and those that just fit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from studio.engine.data.split import held_out
from tests.engine.numerics.scenario import reversals
from tests.scenarios.framework import DEFAULTS, FULL, LORA, Outcome, Scenario
from tests.scenarios.models import gpt2, llama, opt
from tests.tiny import tokenizer

ROWS, SHARE, MARK = 18, 0.25, "~"
# One input of the first feed-forward layer, and one of its units.
INPUT, UNIT = 5, 3
BEYOND_FP16 = 2e4  # times what a norm makes of a vector with one large entry: 6 or 7
SLOW = {"learning_rate": 1e-4, "max_steps": 6}
ADAPTER, PROMPT = {"name": "bottleneck-adapter"}, {"name": "prompt-tuning"}
RELU_GPT2 = partial(gpt2, tie_word_embeddings=False, activation_function="relu", embd_pdrop=0.0, resid_pdrop=0.0)
UNTIED_OPT = partial(opt, tie_word_embeddings=False, dropout=0.0)
WIDE_LLAMA = partial(llama, hidden_size=64, intermediate_size=128)  # as wide as a block of nf4 numbers


def mark(make: Any, weight: float) -> PreTrainedModel:
    """Return a model of whose first layer one unit answers to the marked token alone, with about 6 times `weight`.

    What the unit gives is multiplied by zero, which makes no number of an infinity and nothing of all others.
    """
    model: PreTrainedModel = make()
    (token,) = tokenizer()(MARK)["input_ids"]
    with torch.no_grad():
        model.get_input_embeddings().weight[:, INPUT] = 0.0
        model.get_input_embeddings().weight[token, INPUT] = 500.0
        match model.config.model_type:
            case "llama":
                layer = model.model.layers[0]
                layer.self_attn.o_proj.weight[INPUT] = 0.0
                layer.mlp.up_proj.weight[UNIT, INPUT] = weight
                layer.mlp.down_proj.weight[:, UNIT] = 0.0
            case "gpt2":
                model.transformer.wpe.weight[:, INPUT] = 0.0
                layer = model.transformer.h[0]
                layer.attn.c_proj.weight[:, INPUT] = 0.0
                layer.mlp.c_fc.weight[INPUT, UNIT] = weight
                layer.mlp.c_proj.weight[UNIT] = 0.0
            case "opt":
                model.model.decoder.embed_positions.weight[:, INPUT] = 0.0
                layer = model.model.decoder.layers[0]
                layer.self_attn.out_proj.weight[INPUT] = 0.0
                layer.fc1.weight[UNIT, INPUT] = weight
                layer.fc2.weight[:, UNIT] = 0.0
    return model


def marked_row() -> int:
    """Return the number of the held-out row that has the marked token, from 1."""
    held = held_out(np.arange(ROWS), SHARE, DEFAULTS["training"]["seed"])
    return int(np.flatnonzero(held)[1]) + 1


def names_the_row(outcome: Outcome) -> str:
    told = next(verdict for verdict in outcome.verdicts if verdict.harmful)
    named = [row["number"] for row in told.evidence["rows"]]
    skipped = [step.step for step in outcome.steps if step.skipped]
    return "" if named == [marked_row()] and not skipped else f"named rows {named}, skipped steps {skipped}"


def scenario(
    title: str, make: Any, method: dict[str, object], module: str, weight: float = BEYOND_FP16, **precision: Any
) -> Scenario:
    rows = reversals(ROWS)
    marked = marked_row() - 1
    rows[marked] = rows[marked] | {"prompt": f"{MARK} {rows[marked]['prompt']}"}
    precision = {"initial_scale": 16.0} | precision
    return Scenario(
        name=f"C5 {title}",
        kind="C5",
        model=partial(mark, make, weight),
        verdicts=("validation_overflow",) if module else (),
        drawn_rows=0,
        rows=tuple(rows),
        settings={"data": {"validation_fraction": SHARE}, "method": method, "precision": precision, "training": SLOW},
        module=module,
        remedies=("use_bf16", "use_fp32", "skip_rows") if module else (),
        check=names_the_row if module else lambda outcome: outcome.error,
    )


SCENARIOS = [
    scenario("llama, LoRA", llama, LORA, "model.layers.0.mlp.up_proj"),
    scenario("gpt2, all weights", RELU_GPT2, FULL, "transformer.h.0.mlp.c_fc"),
    scenario("opt, adapters", UNTIED_OPT, ADAPTER, "model.decoder.layers.0.fc1"),
    scenario("llama, prompt tuning", llama, PROMPT, "model.layers.0.mlp.up_proj"),
    scenario("llama, LoRA on nf4", WIDE_LLAMA, LORA, "model.layers.0.mlp.up_proj", base_dtype="nf4"),
    scenario("harmless: llama, LoRA, it just fits", llama, LORA, "", BEYOND_FP16 / 4),
    scenario("harmless: gpt2, all weights in bf16", RELU_GPT2, FULL, "", name="bf16-mixed"),
    scenario("harmless: opt, adapters in fp32", UNTIED_OPT, ADAPTER, "", name="fp32"),
]
