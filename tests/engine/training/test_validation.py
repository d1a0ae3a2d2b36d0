"""What happens when the loss on held-out rows is not a number, and nothing else is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from studio.engine.data.split import held_out
from tests.engine.numerics import scenario
from tests.engine.numerics.scenario import DEFAULTS, LORA, Scenario, llama
from tests.engine.training.trained import Answering
from tests.tiny import tokenizer

ROWS, SHARE = 18, 0.25
MARK = "~"
# One input of the first feed-forward layer, and one of its units.
INPUT, UNIT = 5, 3
BEYOND_FP16 = 2e4  # times what a norm makes of a vector with one large entry: 6 or 7


def opt() -> OPTForCausalLM:
    torch.manual_seed(4)
    sizes = {
        "hidden_size": 40,
        "ffn_dim": 96,
        "word_embed_proj_dim": 40,
        "max_position_embeddings": 160,
        "tie_word_embeddings": False,
    }
    return OPTForCausalLM(OPTConfig(vocab_size=264, num_hidden_layers=2, num_attention_heads=5, **sizes))


def wide_llama() -> PreTrainedModel:
    """As wide as a block of nf4 numbers."""
    return llama(hidden_size=64, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2)


def gpt2() -> PreTrainedModel:
    return scenario.gpt2(tie_word_embeddings=False, activation_function="relu")


def mark(model: PreTrainedModel, weight: float) -> PreTrainedModel:
    """Let one unit of the first layer answer to the marked token alone, with about 6 times `weight`.

    What the unit gives is multiplied by zero, which makes no number of an infinity and nothing of all others.
    """
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


class Validated(Scenario):
    """A run with held-out rows, one of which has the marked token; the rows are those of `Scenario` otherwise."""

    def __init__(self, folder: Path, model: PreTrainedModel, *, everywhere: bool = False, **sections: Any) -> None:
        data = {"validation_fraction": SHARE}
        super().__init__(folder, model, rows=ROWS, data=data, **sections)
        held = held_out(np.arange(ROWS), SHARE, DEFAULTS["training"]["seed"])
        self.marked = int(np.flatnonzero(held)[1]) + 1
        for number, row in enumerate(self._rows, start=1):
            if everywhere or number == self.marked:
                row["prompt"] = f"{MARK} {row['prompt']}"


SLOW = {"learning_rate": 1e-4, "max_steps": 6}
PLANTED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "llama, lora": (llama, LORA, {}, "model.layers.0.mlp.up_proj"),
    "gpt2, full": (gpt2, {"name": "full"}, {}, "transformer.h.0.mlp.c_fc"),
    "opt, bottleneck": (opt, {"name": "bottleneck-adapter"}, {}, "model.decoder.layers.0.fc1"),
    "llama, prompt": (llama, {"name": "prompt-tuning"}, {}, "model.layers.0.mlp.up_proj"),
    "llama, lora, nf4": (wide_llama, LORA, {"base_dtype": "nf4"}, "model.layers.0.mlp.up_proj"),
    "gpt2, lora, one row a batch": (gpt2, LORA, {}, "transformer.h.0.mlp.c_fc"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_held_out_rows_beyond_fp16_are_told_with_module_and_row(tmp_path: Path, name: str) -> None:
    make, method, precision, module = PLANTED[name]
    done = Validated(
        tmp_path,
        mark(make(), BEYOND_FP16),
        method=method,
        precision={"initial_scale": 16.0, **precision},
        training=SLOW,
    ).train(token_budget=1 if "one row" in name else None)
    assert done.verdicts == ["validation_overflow"]
    evidence = done.diagnosed[0].evidence
    assert evidence["module"] == module
    assert [row["number"] for row in evidence["rows"]] == [done.marked]
    assert done.diagnosed[0].remedies == ["use_bf16", "use_fp32", "skip_rows"]
    assert not any(step.skipped for step in done.steps)
    assert not done.error


HARMLESS: dict[str, tuple[Any, dict[str, Any], dict[str, Any], float]] = {
    "llama, lora, it fits": (llama, LORA, {"name": "fp16-mixed"}, BEYOND_FP16 / 4),
    "gpt2, full, bf16": (gpt2, {"name": "full"}, {"name": "bf16-mixed"}, BEYOND_FP16),
    "opt, bottleneck, fp32": (opt, {"name": "bottleneck-adapter"}, {"name": "fp32"}, BEYOND_FP16),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_held_out_rows_with_large_numbers_are_no_overflow(tmp_path: Path, name: str) -> None:
    make, method, precision, weight = HARMLESS[name]
    precision = {"initial_scale": 16.0, **precision}
    done = Validated(tmp_path, mark(make(), weight), method=method, precision=precision, training=SLOW).train()
    assert done.verdicts == []


@pytest.mark.parametrize("make", [llama, opt])
def test_what_overflows_in_training_too_is_told_once(tmp_path: Path, make: Any) -> None:
    done = Validated(tmp_path, mark(make(), BEYOND_FP16), everywhere=True).train()
    assert done.verdicts == ["forward_overflow"]


def test_a_scale_search_before_the_verdict_does_not_hide_it(tmp_path: Path) -> None:
    precision = {"initial_scale": 2.0**30}
    done = Validated(tmp_path, mark(llama(), BEYOND_FP16), precision=precision, training=SLOW).train()
    assert done.verdicts.count("validation_overflow") == 1
    assert set(done.verdicts) == {"validation_overflow", "scale_search"}


def test_without_the_rows_to_blame_the_loss_is_a_number_again_and_the_best_is_one(tmp_path: Path) -> None:
    done = Validated(
        tmp_path,
        mark(llama(), BEYOND_FP16),
        precision={"initial_scale": 16.0},
        training=SLOW,
        numerics={"pause_after": 2},
    ).train(control=Answering("skip_rows"))
    losses = [event.loss for event in done.validated]
    assert math.isnan(losses[0])
    assert math.isfinite(losses[-1])
    finite = [loss for loss in losses if math.isfinite(loss)]
    noted = done.folder.read_state()["validation_loss"]
    assert noted == {"first": finite[0], "last": losses[-1], "best": min(finite)}
    assert done.verdicts == ["validation_overflow"]
