"""RWKV scales its weights in place when it goes from training to inference; ours stay as they were loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import RwkvConfig, RwkvForCausalLM

from studio.config import parse_config
from studio.engine.estimate.formula import storage_for
from studio.engine.models.load import load_model
from studio.engine.precision import PRECISIONS
from studio.engine.training.model import make_trainable
from studio.engine.training.trainer import Trainer
from tests.tiny import CPU, VOCABULARY, rows, tokenizer

IDS = torch.arange(10, 30)[None]


@pytest.fixture
def rwkv(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = RwkvConfig(
        vocab_size=VOCABULARY, hidden_size=64, attention_hidden_size=64, num_hidden_layers=6, context_length=64,
        rescale_every=2,
    )  # fmt: skip
    RwkvForCausalLM(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_answers_are_those_of_transformers_and_weights_stay(rwkv: Path) -> None:
    model, plain = load_model(rwkv), RwkvForCausalLM.from_pretrained(rwkv).eval()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        # The norms lose the scale of the stream, but for their epsilon.
        torch.testing.assert_close(model(IDS).logits, plain(IDS).logits, atol=1e-3, rtol=1e-3)
        model.train()(IDS)
        model.eval()(IDS)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_a_rounded_base_trains(rwkv: Path, base_dtype: str) -> None:
    pytest.importorskip("bitsandbytes")
    config = parse_config(
        {
            "model": {"path": "m"},
            "data": {"sources": [{"path": "r"}]},
            "method": {"name": "lora", "rank": 4, "dropout": 0.0},
            "precision": {"name": "bf16-mixed", "base_dtype": base_dtype},
        }
    )
    precision = PRECISIONS.get("bf16-mixed")
    base = load_model(rwkv, storage=storage_for(config, precision))
    trainer = Trainer(config, make_trainable(base, config, precision, CPU), precision, token_budget=10_000)
    assert not trainer.attempt(rows(2, longest=12), step=1, learning_rate=1e-3).skipped  # type: ignore[arg-type]
