from __future__ import annotations

from typing import Any

import pytest

from studio.config import RunConfig, parse_config
from studio.engine.estimate import estimate as whole_estimate
from studio.engine.estimate.formula import Formula, Work, micro_batch
from studio.engine.fit import Fit
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.precision import PRECISIONS
from tests.tiny import save_model


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    return inspect_model(save_model(tmp_path_factory.mktemp("models") / "tiny"))


def config(**tables: dict[str, Any]) -> RunConfig:
    needed = {"model": {"path": "m"}, "data": {"sources": [{"path": "d.jsonl"}], **tables.pop("data", {})}}
    return parse_config(needed | tables)


def estimate(
    info: ModelInfo,
    run: RunConfig,
    precision: str = "fp32",
    rows: int = 1,
    *,
    several: bool = True,
    on_cpu: bool = False,
    recompute: bool = False,
    on_host: bool = False,
) -> dict[str, int]:
    work = Work(rows=rows, length=100, several=several)
    formula = Formula(info.shapes, run, PRECISIONS.get(precision), "cpu" if on_cpu else "cuda")
    return formula.components(Fit(recompute=recompute, on_host=on_host, micro_batch_tokens=1), work)


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
    linear = sum(layer.inputs * layer.outputs for layer in info.shapes.linear_layers)
    saved = estimate(info, run)["weights"] - estimate(info, run, "bf16-mixed")["weights"]
    assert saved == 2 * linear


def test_activations_and_logits_grow_with_the_rows(info: ModelInfo) -> None:
    two, four = estimate(info, config(), rows=2), estimate(info, config(), rows=4)
    assert (four["activations"], four["logits"]) == (2 * two["activations"], 2 * two["logits"])


def test_virtual_tokens_are_positions_of_every_row(info: ModelInfo) -> None:
    few, many = (config(method={"name": "prompt-tuning", "virtual_tokens": n}) for n in (20, 80))
    assert estimate(info, many)["activations"] == pytest.approx(1.5 * estimate(info, few)["activations"], rel=1e-4)


def test_gradients_take_the_place_of_activations_where_one_backward_pass_makes_an_update(info: ModelInfo) -> None:
    run = config(method={"name": "full"})
    one, several = (estimate(info, run, several=several) for several in (False, True))
    assert several["activations"] - one["activations"] == several["gradients"]
    assert one["gradients"] == several["gradients"]


def test_on_a_processor_the_program_and_loading_count_too(info: ModelInfo) -> None:
    parts = estimate(info, config(), on_cpu=True)
    on_gpu = estimate(info, config())
    assert parts["runtime"] > 2**28
    assert (on_gpu["runtime"], on_gpu["loading"], on_gpu["holes"]) == (0, 0, 0)
    assert all(parts[name] >= on_gpu[name] for name in parts)


def test_weights_that_train_in_sixteen_bits_have_a_copy_to_compute_with(info: ModelInfo) -> None:
    run = config(method={"name": "full"})
    linear = sum(layer.inputs * layer.outputs for layer in info.shapes.linear_layers)
    rows, size = info.shapes.embedding
    assert estimate(info, run)["conversions"] == 0
    assert estimate(info, run, "bf16-mixed")["conversions"] == 2 * (linear + rows * size)
    assert estimate(info, run, "bf16-pure")["conversions"] == 0


@pytest.mark.parametrize(
    ("max_length", "batch_size", "rows", "several"),
    [(256, 8, 3, True), (256, 2, 2, False), (4000, 8, 1, True), (4000, 1, 1, False)],
)
def test_a_micro_batch_is_bounded_by_budget_longest_row_and_batch(
    max_length: int, batch_size: int, rows: int, several: bool
) -> None:
    run = config(data={"max_length": max_length}, training={"batch_size": batch_size})
    assert micro_batch(run, 1000) == Work(rows=rows, length=max_length, several=several)


def test_an_estimate_is_the_sum_of_its_named_parts(info: ModelInfo) -> None:
    needs = whole_estimate(info, config(training={"device": "cpu"}))
    assert list(needs.bytes) == [
        "runtime",
        "weights",
        "conversions",
        "loading",
        "gradients",
        "optimizer",
        "activations",
        "holes",
        "logits",
    ]
    assert needs.total_bytes == sum(needs.bytes.values()) > 0
