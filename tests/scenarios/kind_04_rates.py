"""Kind 4: a learning rate that takes a model, in order when the run began, out of the range of fp16."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from studio.engine.training.trainer import Trainer
from tests.scenarios.framework import FULL, LORA, Scenario
from tests.scenarios.models import gpt2, llama, neox, qwen2

BACK = ("lower_learning_rate", "restore_checkpoint")
WIDE = ("use_bf16", "use_fp32")


@contextmanager
def grown(factor: float, update: int) -> Iterator[None]:
    """Multiply what the first block's feed-forward layer makes, after so many updates, as a rate far too high does."""
    attempt, seen = Trainer.attempt, itertools.count(1)

    def with_growth(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        done = attempt(self, *args, **kwargs)
        if next(seen) == update:
            layer = next(
                m for n, m in self.model.base.named_modules() if n.endswith(("up_proj", "c_fc", "dense_h_to_4h"))
            )
            with torch.no_grad():
                (layer.lora_B["default"] if hasattr(layer, "lora_B") else layer).weight.mul_(factor)
        return done

    Trainer.attempt = with_growth
    try:
        yield
    finally:
        Trainer.attempt = attempt


def outgrows(
    name: str,
    make: Callable[..., PreTrainedModel],
    fault: Callable[[], AbstractContextManager[object]],
    **settings: Any,
) -> Scenario:
    return Scenario(
        name=f"C4 {name}", kind="C4", model=make, verdicts=("forward_overflow",), fault=fault, remedies=BACK + WIDE,
        settings={"precision": {"name": "fp16-mixed"}, "method": FULL, "training": {"max_steps": 14}} | settings,
    )  # fmt: skip


def beyond(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model with a feed-forward layer whose results fp16 cannot hold."""
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(4e6)
    return model


SCENARIOS = [
    outgrows("llama, all weights", llama, partial(grown, 4e6, 8)),
    outgrows("gpt2, all weights", gpt2, partial(grown, 4e6, 9)),
    outgrows("neox, LoRA", neox, partial(grown, 4e6, 8), method=LORA),
    Scenario(
        name="C4 qwen2 that came beyond fp16: no rate helps",
        kind="C4",
        model=lambda: beyond(qwen2()),
        verdicts=("forward_overflow",),
        settings={"method": LORA},
        remedies=WIDE,
        without=BACK,
    ),
    Scenario(
        name="C4 harmless: llama, the same growth within the range",
        kind="C4",
        model=llama,
        fault=partial(grown, 1.01, 8),
        settings={"method": FULL, "training": {"max_steps": 14}},
    ),
]
