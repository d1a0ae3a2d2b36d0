"""A base that is loaded weight by weight into its formats trains as one that was loaded in fp32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from studio.config import parse_config
from studio.engine.control import no_progress
from studio.engine.fit import Fit
from studio.engine.models.load import load_model
from studio.engine.precision import PRECISIONS
from studio.engine.seed import seed_step
from studio.engine.training.model import TrainableModel, load_trainable, make_trainable
from studio.engine.training.trainer import Trainer
from tests.engine.models.architectures import make
from tests.tiny import CPU, gpt2, llama, rows

LORA: dict[str, object] = {"name": "lora", "rank": 4}
METHODS: list[dict[str, object]] = [
    LORA,
    LORA | {"dora": True},
    LORA | {"init": "pissa"},
    LORA | {"target_modules": "attention-only"},
    {"name": "full", "freeze_embeddings": True, "freeze_layers": 1},
    {"name": "bottleneck-adapter", "bottleneck": 8},
    {"name": "ia3"},
    {"name": "prompt-tuning", "virtual_tokens": 5},
    {"name": "prefix-tuning", "virtual_tokens": 5},
]


def _losses(model: TrainableModel, config: object) -> list[float]:
    trainer = Trainer(config, model, PRECISIONS.get(config.precision.name), token_budget=10_000)  # type: ignore[arg-type, attr-defined]
    attempts = [trainer.attempt(rows(8), step=step, learning_rate=1e-2) for step in (1, 2)]  # type: ignore[arg-type]
    return [attempt.loss for attempt in attempts]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize(
    ("precision", "base_dtype"),
    [("bf16-mixed", "auto"), ("fp16-mixed", "auto"), ("fp32", "auto"), ("bf16-mixed", "nf4")],
)
@pytest.mark.parametrize("base", [llama, gpt2, lambda: make("gemma2", vocab_size=300)], ids=["llama", "gpt2", "gemma2"])
def test_a_base_of_16_bits_trains_bit_for_bit_as_its_fp32_copy(
    tmp_path: Path, base: object, method: dict[str, object], precision: str, base_dtype: str
) -> None:
    if base_dtype == "nf4" and (method["name"] == "full" or method.get("init") == "pissa"):
        pytest.skip("needs a base that is not quantised")
    if precision == "fp16-mixed" and method.get("init") == "pissa":
        pytest.skip("starts at the components of the weights as they are stored, here in fp16")
    model: PreTrainedModel = base()  # type: ignore[operator]
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    config = parse_config(
        {
            "model": {"path": str(tmp_path)},
            "data": {"sources": [{"path": "rows.jsonl"}]},
            "method": method,
            "precision": {"name": precision, "base_dtype": base_dtype, "initial_scale": 1024.0},
        }
    )
    chosen = PRECISIONS.get(precision)
    loaded = load_trainable(tmp_path, config, chosen, CPU, Fit(recompute=False, micro_batch_tokens=1), no_progress)
    wide = load_model(tmp_path)
    seed_step(config.training.seed, 0)
    plain = make_trainable(wide, config, chosen, CPU)
    assert _losses(loaded, config) == _losses(plain, config)
