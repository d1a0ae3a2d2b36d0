"""Kind 7: an infinity in the forward pass that does no harm, while the loss scale is searched for; and one that does."""

from __future__ import annotations

import math
from functools import partial

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from tests.scenarios.framework import FULL, LORA, Outcome, Scenario
from tests.scenarios.models import ENDS, VOCABULARY, blocks, gpt2, opt

SEARCH = {"initial_scale": 2.0**26}


def biased(model: PreTrainedModel, layer: str, bias: float) -> PreTrainedModel:
    """One unit before the activation function gets a bias that fp16 cannot hold."""
    with torch.no_grad():
        blocks(model)[1].get_parameter(f"{layer}.bias")[3] = bias
    return model


def gpt2_with_relu(bias: float) -> PreTrainedModel:
    return biased(gpt2(activation_function="relu", resid_pdrop=0.0), "mlp.c_fc", bias)


def capped() -> PreTrainedModel:
    """A soft cap on the logits of a token that are infinite in fp16."""
    torch.manual_seed(17)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 40,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "head_dim": 10,
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 160, "sliding_window": 64}
    config = Gemma2Config(**shape | heads | ENDS, final_logit_softcapping=10.0, tie_word_embeddings=False)
    model = Gemma2ForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[7] *= 60000.0 / float(model.lm_head.weight[7].abs().max())
        model.model.norm.weight.add_(9.0)  # Gemma adds 1 to it
    return model


def searched(outcome: Outcome) -> str:
    """The scale was too large at first, and was found."""
    if not any(step.skipped for step in outcome.steps) or any(step.skipped for step in outcome.steps[-4:]):
        return "the scale was not searched for, or not found"
    if not all(math.isfinite(step.loss) for step in outcome.steps):
        return "the infinity reached the loss"
    told = [verdict.verdict for verdict in outcome.verdicts]
    return "" if told == ["scale_search"] else f"told {told}"


def harmless(name: str, model: partial[PreTrainedModel], method: dict[str, object]) -> Scenario:
    settings = {"precision": SEARCH, "method": method, "training": {"max_steps": 24, "learning_rate": 1e-4}}
    return Scenario(name=f"C7 harmless: {name}", kind="C7", model=model, settings=settings, check=searched)


SCENARIOS = [
    harmless("gpt2 LoRA, a stored bias of -inf before a ReLU", partial(gpt2_with_relu, -1e6), LORA),
    harmless("opt, all weights, -inf before a ReLU", partial(lambda: biased(opt(dropout=0.0), "fc1", -1e6)), FULL),
    harmless("gemma2 LoRA, infinite logits under a soft cap", partial(capped), LORA),
    Scenario(
        name="C7 gpt2 LoRA, +inf behind a ReLU",
        kind="C7",
        model=partial(gpt2_with_relu, 1e6),
        verdicts=("forward_overflow",),
        settings={"precision": SEARCH},
        remedies=("use_bf16",),
    ),
    Scenario(
        name="C7 opt, all weights, +inf behind a ReLU",
        kind="C7",
        model=partial(lambda: biased(opt(dropout=0.0), "fc1", 1e6)),
        verdicts=("forward_overflow",),
        settings={"precision": SEARCH, "method": FULL},
        module="model.decoder.layers.1.fc1",
        remedies=("use_bf16",),
    ),
]
