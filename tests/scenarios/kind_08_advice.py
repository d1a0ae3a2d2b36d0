"""Kind 8: advice fits the run: weights stored in fp16, under precisions that themselves have the range of fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from tests.scenarios.framework import Outcome, Scenario
from tests.scenarios.models import blocks, gpt2, llama, neox


def too_large(make: Callable[..., PreTrainedModel], part: str, value: float = 2e5) -> Callable[[], PreTrainedModel]:
    """Return what makes a model with one weight, of a frozen layer, that is not of the ordinary size."""

    def model() -> PreTrainedModel:
        made = make()
        with torch.no_grad():
            blocks(made)[1].get_submodule(part).weight[3, 5] = value
        return made

    return model


def fits(outcome: Outcome) -> str:
    advice = next(verdict.advice for verdict in outcome.verdicts if verdict.harmful)
    wrong = [words for words in ("no bf16", "Loss scaling", "Use fp32") if words in advice]
    return f"{wrong} in {advice!r}" if wrong else ""


def stored(name: str, make: Callable[..., PreTrainedModel], part: str, precision: str, module: str) -> Scenario:
    return Scenario(
        name=f"C8 {name}",
        kind="C8",
        model=too_large(make, part),
        verdicts=("forward_overflow",),
        settings={"precision": {"name": precision, "base_dtype": "fp16"}},
        module=module,
        remedies=("use_automatic_storage",),
        without=("use_bf16", "lower_learning_rate", "skip_rows"),
        check=fits,
    )


SCENARIOS = [
    stored("llama, bf16", llama, "mlp.gate_proj", "bf16-mixed", "model.layers.1.mlp.gate_proj"),
    stored("gpt2, bf16", gpt2, "mlp.c_fc", "bf16-mixed", "transformer.h.1.mlp.c_fc"),
    Scenario(
        name="C8 harmless: neox, a weight that fp16 can hold",
        kind="C8",
        model=too_large(neox, "mlp.dense_h_to_4h", 60.0),
        settings={"precision": {"name": "bf16-mixed", "base_dtype": "fp16"}},
    ),
]
