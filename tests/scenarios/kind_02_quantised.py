"""Kind 2: a base in nf4 or int8 whose activations exceed fp16, and bases that only look like it."""

from __future__ import annotations

from functools import partial

import torch
from transformers import PreTrainedModel

from tests.scenarios.framework import LORA, Scenario
from tests.scenarios.models import MODELS, blocks

# Of the second block: the norm before the feed-forward layers, and the first of these.
LAYERS = {
    "llama": ("post_attention_layernorm", "mlp.up_proj"),
    "qwen2": ("post_attention_layernorm", "mlp.up_proj"),
    "gpt2": ("ln_2", "mlp.c_fc"),
}
MODULES = {"llama": "model.layers.1.mlp.up_proj", "gpt2": "transformer.h.1.mlp.c_fc"}


def loud(family: str, factor: float) -> PreTrainedModel:
    """Return a model in which one layer has weights and inputs so many times larger; each by itself fits in fp16."""
    model = MODELS[family]()
    with torch.no_grad():
        for name in LAYERS[family]:
            blocks(model)[1].get_parameter(f"{name}.weight").mul_(factor)
    return model


def scenario(base_dtype: str, family: str, method: dict[str, object], name: str) -> Scenario:
    return Scenario(
        name=f"C2 {base_dtype} {family} {name}",
        kind="C2",
        model=partial(loud, family, 2e3),
        verdicts=("forward_overflow",),
        settings={"precision": {"base_dtype": base_dtype}, "method": method},
        module=MODULES[family],
        remedies=("use_bf16", "use_fp32"),
    )


SCENARIOS = [
    scenario("nf4", "llama", LORA, "LoRA"),
    scenario("nf4", "gpt2", LORA | {"dora": True}, "DoRA"),
    scenario("int8", "llama", {"name": "bottleneck-adapter"}, "adapters"),
    scenario("int8", "gpt2", LORA, "LoRA"),
    Scenario(
        name="C2 harmless: nf4 qwen2, loud but within fp16",
        kind="C2",
        model=partial(loud, "qwen2", 50.0),
        settings={"precision": {"base_dtype": "nf4", "initial_scale": 256.0}, "training": {"learning_rate": 1e-5}},
    ),
]
