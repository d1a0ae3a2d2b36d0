"""A base that is loaded weight by weight into its formats trains as one that was loaded in fp32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from studio.config import RunConfig, parse_config
from studio.engine.control import no_progress
from studio.engine.estimate.formula import storage_for
from studio.engine.fit import Fit
from studio.engine.models.load import load_model
from studio.engine.precision import PRECISIONS
from studio.engine.seed import seed_step
from studio.engine.training.model import TrainableModel, load_trainable, make_trainable
from studio.engine.training.trainer import Trainer
from tests.engine.models.architectures import make
from tests.tiny import CPU, gpt2, llama, rows

BASES = {"llama": llama, "gpt2": gpt2, "gemma2": lambda: make("gemma2", vocab_size=300)}
METHODS: dict[str, dict[str, object]] = {
    "lora": {"name": "lora", "rank": 4},
    "dora": {"name": "lora", "rank": 4, "dora": True},
    "pissa": {"name": "lora", "rank": 4, "init": "pissa"},
    "attention": {"name": "lora", "rank": 4, "target_modules": "attention-only"},
    "full": {"name": "full", "freeze_embeddings": True, "freeze_layers": 1},
    "bottleneck-adapter": {"name": "bottleneck-adapter", "bottleneck": 8},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 5},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 5},
}
# Every method, every storage, and every base with those that reach into its embedding or its layers.
CASES = [
    *(("llama", method, "bf16-mixed", "auto") for method in METHODS),
    *(("llama", method, "bf16-mixed", "nf4") for method in ("lora", "dora", "ia3")),
    *(("llama", method, "fp32", "auto") for method in ("lora", "full", "prompt-tuning")),
    *(("llama", method, "fp16-mixed", "auto") for method in ("lora", "prefix-tuning")),
    *((base, "lora", precision, "auto") for base in ("gpt2", "gemma2") for precision in ("bf16-mixed", "fp32")),
    *((base, method, "bf16-mixed", "auto") for base in ("gpt2", "gemma2") for method in ("full", "prompt-tuning")),
    ("gpt2", "lora", "bf16-mixed", "nf4"),
]


def config_of(folder: Path, method: dict[str, object], precision: dict[str, object]) -> RunConfig:
    return parse_config(
        {
            "model": {"path": str(folder)},
            "data": {"sources": [{"path": "rows.jsonl"}]},
            "method": method,
            "precision": precision,
        }
    )


def _losses(model: TrainableModel, config: object) -> list[float]:
    trainer = Trainer(config, model, PRECISIONS.get(config.precision.name), token_budget=10_000)  # type: ignore[arg-type, attr-defined]
    attempts = [trainer.attempt(rows(8), step=step, learning_rate=1e-2) for step in (1, 2)]  # type: ignore[arg-type]
    return [attempt.loss for attempt in attempts]


@pytest.mark.parametrize(("base", "method", "precision", "base_dtype"), CASES)
def test_a_base_of_16_bits_trains_bit_for_bit_as_its_fp32_copy(
    tmp_path: Path, base: str, method: str, precision: str, base_dtype: str
) -> None:
    model: PreTrainedModel = BASES[base]()
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    config = config_of(
        tmp_path, METHODS[method], {"name": precision, "base_dtype": base_dtype, "initial_scale": 1024.0}
    )
    chosen = PRECISIONS.get(precision)
    loaded = load_trainable(tmp_path, config, chosen, CPU, Fit(recompute=False, micro_batch_tokens=1), no_progress)
    wide = load_model(tmp_path)
    seed_step(config.training.seed, 0)
    plain = make_trainable(wide, config, chosen, CPU)
    assert _losses(loaded, config) == _losses(plain, config)


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning"])
def test_words_that_are_looked_up_on_the_host_train_the_same(tmp_path: Path, method: str) -> None:
    model = llama(tied=False)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    config = config_of(tmp_path, METHODS[method], {"name": "bf16-mixed"})
    losses = []
    for words_on_host in (False, True):
        fit = Fit(recompute=False, micro_batch_tokens=1, words_on_host=words_on_host)
        loaded = load_trainable(tmp_path, config, PRECISIONS.get("bf16-mixed"), CPU, fit, no_progress)
        losses.append(_losses(loaded, config))
        loaded.base.to("meta")
        words, output = loaded.base.get_input_embeddings().weight, loaded.base.get_output_embeddings().weight
        assert (words.device.type, output.device.type) == ("cpu" if words_on_host else "meta", "meta")
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_words_that_are_more_than_looked_up_stay_with_the_model(tmp_path: Path, method: str) -> None:
    """The output layer reads them as well, or they are trained."""
    llama(tied=method == "lora").save_pretrained(tmp_path)
    table: dict[str, object] = METHODS["lora"] if method == "lora" else {"name": "full"}
    storage = storage_for(config_of(tmp_path, table, {"name": "fp32"}), PRECISIONS.get("fp32"))
    loaded = load_model(tmp_path, storage=storage, words_on_host=True).to("meta")
    assert loaded.get_input_embeddings().weight.device.type == "meta"
