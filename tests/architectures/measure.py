"""What works with a tiny model of an architecture, tried out: every method, storage in 4 bits, and merging."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from studio.config import parse_config
from studio.engine.methods import METHODS
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model
from studio.engine.precision import PRECISIONS
from studio.engine.training.model import make_trainable
from studio.engine.training.trainer import Trainer
from studio.errors import ConfigError
from tests.architectures.models import PACKAGED, save
from tests.tiny import CPU, rows

COLUMNS: dict[str, dict[str, Any]] = {
    "LoRA": {"name": "lora", "rank": 4},
    "attention only": {"name": "lora", "rank": 4, "target_modules": ["attention-only"]},
    "experts": {"name": "lora", "rank": 4, "experts": True},
    "full": {"name": "full"},
    "IA3": {"name": "ia3"},
    "bottleneck": {"name": "bottleneck-adapter", "bottleneck": 8},
    "prompt, P-tuning": {"name": "prompt-tuning", "virtual_tokens": 4},
    "prefix": {"name": "prefix-tuning", "virtual_tokens": 4},
    "nf4": {"name": "lora", "rank": 4, "dropout": 0.0},
}
MERGED = "merged"
_NO_EXPERTS = "no experts in one weight"


def measure(name: str) -> dict[str, str]:
    """Return for each column "yes", "–" where it does not apply, or why it is refused before anything is loaded.

    Raises:
        AssertionError: what is announced, trained and saved does not agree, a step fails, or a merged model answers
            otherwise than the trained one.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = save(name, Path(place) / name)
        found = {column: _try(folder, table, nf4=column == "nf4") for column, table in COLUMNS.items()}
        return found | {MERGED: _merged(folder, name)}


def _try(folder: Path, table: dict[str, Any], *, nf4: bool) -> str:
    info = inspect_model(folder)
    precision = {"name": "bf16-mixed", "base_dtype": "nf4"} if nf4 else {"name": "fp32"}
    config = parse_config(
        {"model": {"path": "m"}, "data": {"sources": [{"path": "r"}]}, "method": table, "precision": precision}
    )
    method = METHODS.get(config.method.name)
    try:
        method.check(info, config.method)
    except ConfigError as error:
        return "–" if _NO_EXPERTS in str(error) else without_names(str(error))
    chosen = PRECISIONS.get(config.precision.name)
    model = make_trainable(load_model(folder), config, chosen, CPU)
    assert model.trainable_parameters == method.trainable_parameters(info.shapes, config.method), table
    trainer = Trainer(config, model, chosen, token_budget=10_000)
    attempt = trainer.attempt(rows(2, longest=12), step=1, learning_rate=1e-3)  # type: ignore[arg-type]
    assert not attempt.skipped, table
    return "yes"


def without_names(sentence: str) -> str:
    return re.sub(r"and \S+ \(\w+\) of this model is", "and the layers of this model are", sentence)


def _merged(folder: Path, name: str) -> str:
    """Train LoRA for a step, merge it, save it, and compare plain transformers' answer with the trained model's."""
    method = METHODS.get("lora")
    config = parse_config(
        {
            "model": {"path": "m"},
            "data": {"sources": [{"path": "r"}]},
            "method": {"name": "lora", "rank": 4, "dropout": 0.0},
            "precision": {"name": "fp32"},
        }
    )
    precision = PRECISIONS.get("fp32")
    model = make_trainable(load_model(folder), config, precision, CPU)
    trainer = Trainer(config, model, precision, token_budget=10_000)
    trainer.attempt(rows(2, longest=12), step=1, learning_rate=1e-2)  # type: ignore[arg-type]
    adapter, merged = folder.with_name("adapter"), folder.with_name("merged")
    adapter.mkdir()
    method.save(model.model, adapter)
    trained = method.load(load_model(folder), adapter)
    wanted = _logits(trained)
    method.merge(trained).save_pretrained(merged)
    plain = (AutoModelForImageTextToText if name in PACKAGED else AutoModelForCausalLM).from_pretrained(merged).eval()
    torch.testing.assert_close(_logits(plain), wanted, atol=1e-4, rtol=1e-4)
    return "yes"


def _logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.arange(10, 19)[None], use_cache=False).logits
    return logits.float()
