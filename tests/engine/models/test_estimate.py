from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig, parse_config
from studio.engine.methods import METHODS
from studio.engine.models.estimate import estimate_components, estimate_memory, micro_batch_tokens
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.precision import PRECISIONS


@pytest.fixture
def info(whole_model: Path) -> ModelInfo:
    return inspect_model(whole_model)


def config(**tables: dict[str, Any]) -> RunConfig:
    needed = {"model": {"path": "m"}, "data": {"sources": [{"path": "d.jsonl"}], **tables.pop("data", {})}}
    return parse_config(needed | tables)


def estimate(info: ModelInfo, run: RunConfig, precision: str = "fp32", tokens: int = 100) -> dict[str, int]:
    return estimate_components(info.shapes, run, PRECISIONS.get(precision), tokens).components


def test_full_fine_tuning_takes_sixteen_bytes_a_parameter(info: ModelInfo) -> None:
    parts = estimate(info, config(method={"name": "full"}))
    assert parts["weights"] + parts["gradients"] + parts["optimizer"] == 16 * info.parameters


def test_lora_pays_gradients_and_states_for_what_it_trains_alone(info: ModelInfo) -> None:
    run = config(method={"name": "lora", "rank": 4})
    trained = METHODS.get("lora").trainable_parameters(info.shapes, run.method)
    parts = estimate(info, run)
    assert (parts["gradients"], parts["optimizer"]) == (4 * trained, 8 * trained)
    assert parts["weights"] == 4 * (info.parameters + trained)


def test_frozen_linear_weights_halve_in_sixteen_bits_and_the_embedding_does_not(info: ModelInfo) -> None:
    run = config(method={"name": "lora"})
    linear = sum(layer.inputs * layer.outputs for layer in info.shapes.linear())
    saved = estimate(info, run)["weights"] - estimate(info, run, "bf16-mixed")["weights"]
    assert saved == 2 * linear


def test_activations_and_logits_grow_with_the_tokens(info: ModelInfo) -> None:
    one, two = estimate(info, config(), tokens=100), estimate(info, config(), tokens=200)
    assert (two["activations"], two["logits"]) == (2 * one["activations"], 2 * one["logits"])


@pytest.mark.parametrize(
    ("max_length", "batch_size", "tokens"), [(256, 8, 1000), (256, 2, 512), (4000, 8, 4000), (4000, 1, 4000)]
)
def test_a_micro_batch_is_bounded_by_budget_longest_row_and_batch(
    max_length: int, batch_size: int, tokens: int
) -> None:
    run = config(data={"max_length": max_length}, training={"batch_size": batch_size})
    assert micro_batch_tokens(run, 1000) == tokens


def test_an_estimate_is_the_sum_of_its_named_parts(info: ModelInfo) -> None:
    memory = estimate_memory(info, config(training={"device": "cpu"}))
    assert list(memory.components) == ["weights", "gradients", "optimizer", "activations", "logits"]
    assert memory.total == sum(memory.components.values()) > 0
