from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest

from studio.config import RunConfig, parse_config
from studio.engine.estimate import estimate as whole_estimate
from studio.engine.estimate.formula import Formula, Work, micro_batch
from studio.engine.estimate.plan import Place, gpu_of, plan
from studio.engine.estimate.remedies import apply_remedy
from studio.engine.fit import Fit, choose_fit
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.precision import PRECISIONS
from studio.errors import ConfigError
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
        "gathered",
        "conversions",
        "loading",
        "gradients",
        "optimizer",
        "activations",
        "holes",
        "logits",
    ]
    assert needs.total_bytes == sum(needs.bytes.values()) > 0


def test_recomputation_keeps_the_inputs_of_the_layers_and_one_layer(info: ModelInfo) -> None:
    kept = estimate(info, config(method={"name": "lora"}), rows=64)
    again = estimate(info, config(method={"name": "lora"}), rows=64, recompute=True)
    waiting = estimate(info, config(method={"name": "lora"}), rows=64, recompute=True, on_host=True)
    assert again["activations"] < kept["activations"]
    assert waiting["activations"] <= again["activations"]
    assert again["weights"] == kept["weights"]


def test_what_an_optimizer_keeps_is_what_it_costs(info: ModelInfo) -> None:
    run = {"method": {"name": "full"}}
    by_name = {name: estimate(info, config(**run, training={"optimizer": name}), rows=64) for name in OPTIMIZERS}
    states = {name: parts["optimizer"] / info.parameters for name, parts in by_name.items()}
    assert states == pytest.approx({"adamw": 8.0, "adamw-8bit": 2.03, "adafactor": 0.0}, abs=0.01)


OPTIMIZERS = ("adamw", "adamw-8bit", "adafactor")


def test_weights_are_spread_over_gpus_where_the_whole_does_not_fit(info: ModelInfo) -> None:
    run = config(method={"name": "full"}, precision={"name": "fp32"})
    alone, spread = (Formula(info.shapes, run, PRECISIONS.get("fp32"), "cuda", parts=parts) for parts in (1, 4))
    fit = Fit(recompute=False, micro_batch_tokens=1)
    one, four = alone.components(fit), spread.components(fit)
    for component in ("weights", "gradients", "optimizer"):
        assert four[component] == pytest.approx(one[component] / 4, rel=0.01)
    assert one["gathered"] == 0 < four["gathered"]
    place = Place(kind="cuda", total=10**9, available=10**9, processes=4)
    assert not plan(info, run, place).sharded
    assert plan(info, run, dataclasses.replace(place, available=1)).sharded
    assert not plan(info, run, dataclasses.replace(place, kind="cpu", available=1)).sharded
    assert not plan(info, config(method={"name": "lora"}), dataclasses.replace(place, available=1)).sharded


@pytest.mark.parametrize(
    "tables",
    [{"method": {"name": "lora"}}, {"training": {"optimizer": "adafactor"}}, {"precision": {"name": "bf16-pure"}}],
    ids=["method", "optimizer", "precision"],
)
def test_what_cannot_be_spread_is_refused_where_it_shall_be(info: ModelInfo, tables: dict[str, Any]) -> None:
    tables = {"method": {"name": "full"}, **tables}
    tables["training"] = {"shard": "on", **tables.get("training", {})}
    with pytest.raises(ConfigError, match=r"training\.shard = on needs"):
        plan(info, config(**tables), gpu_of(24, 2))
    assert not plan(info, config(**tables), gpu_of(24, 1)).sharded  # one process has nothing to spread


def of_size(total: int, available: int | None = None) -> Place:
    return Place(kind="cuda", total=total, available=total if available is None else available)


def test_a_gpu_of_a_size_is_answered_for_on_any_machine(info: ModelInfo) -> None:
    needs = whole_estimate(info, config(), gpu_of(24))
    assert needs.fits
    assert needs.device == "cuda"
    assert needs.bytes["runtime"] == 0
    assert 23 * 2**30 < needs.available_bytes < needs.device_bytes == 24 * 2**30
    assert needs.choices == {
        "recompute": False,
        "micro_batch_tokens": 8192,
        "on_host": False,
        "words_on_host": False,
        "base_dtype": "bf16",
        "shards": 1,
        "cards": (),
    }


def test_the_less_memory_there_is_the_less_is_kept(info: ModelInfo) -> None:
    run = config(data={"max_length": 512}, training={"batch_size": 16})
    roomy = whole_estimate(info, run, of_size(1 << 40))
    tight = whole_estimate(info, run, of_size(1 << 40, roomy.total_bytes - 1))
    tightest = whole_estimate(info, run, of_size(1 << 40, 1))
    assert (roomy.choices["recompute"], roomy.rows) == (False, 16)
    assert tight.choices["recompute"]
    assert tight.fits
    assert (tightest.choices["on_host"], tightest.rows) == (True, 1)
    assert roomy.total_bytes > tight.total_bytes > tightest.total_bytes


def test_what_the_user_says_of_recomputation_holds(info: ModelInfo) -> None:
    place = of_size(1 << 40)
    on = whole_estimate(info, config(training={"recompute": "on"}), place)
    off = whole_estimate(info, config(training={"recompute": "off"}), of_size(1 << 40, 1))
    assert (on.choices["recompute"], off.choices["recompute"]) == (True, False)


def test_weights_that_would_fill_a_gpu_are_stored_in_nf4(info: ModelInfo) -> None:
    small = {"method": {"name": "lora", "rank": 1}}
    weights = whole_estimate(info, config(**small), of_size(1 << 40)).bytes["weights"]

    def stored(share: float, **tables: dict[str, Any]) -> str:
        needs = whole_estimate(info, config(**(small | tables)), of_size(int(weights / share)))
        return str(needs.choices["base_dtype"])

    assert (stored(0.4), stored(0.9)) == ("bf16", "nf4")
    assert stored(0.9, precision={"base_dtype": "bf16"}) == "bf16"
    assert stored(0.9, method={"name": "full"}) == "fp32"
    assert stored(0.9, method={"name": "lora", "init": "pissa"}) == "bf16"


def test_remedies_carry_the_figure_that_the_estimate_has_with_them(info: ModelInfo) -> None:
    run = config(method={"name": "full"}, data={"max_length": 2048})
    place = of_size(1 << 40, 1)
    needs = whole_estimate(info, run, place)
    assert {remedy.name for remedy in needs.remedies} >= {"adafactor", "rows", "method"}
    for remedy in needs.remedies:
        changed = whole_estimate(info, apply_remedy(run, remedy.overrides), place)
        assert changed.total_bytes == remedy.total_bytes < needs.total_bytes
        assert not remedy.fits


def test_what_is_enough_comes_first(info: ModelInfo) -> None:
    run = config(method={"name": "full"})
    sizes = {found.name: found.total_bytes for found in whole_estimate(info, run, of_size(1 << 40, 1)).remedies}
    enough = min(sizes, key=lambda name: sizes[name])
    found = whole_estimate(info, run, of_size(1 << 40, sizes[enough])).remedies
    assert [remedy.fits for remedy in found] == [True] + [False] * (len(found) - 1)
    assert (found[0].name, len(found)) == (enough, len(sizes))


def test_a_remedy_that_fits_is_the_mildest_one(info: ModelInfo) -> None:
    run = config(data={"max_length": 4096}, precision={"base_dtype": "bf16"})
    least = whole_estimate(info, run, of_size(1 << 40, 1)).total_bytes
    needs = whole_estimate(info, run, of_size(1 << 40, least - 1))
    (rows,) = [remedy for remedy in needs.remedies if remedy.name == "rows"]
    assert (rows.overrides, rows.fits) == ({"data.max_length": 2048}, True)


def test_what_fits_needs_no_remedies(info: ModelInfo) -> None:
    assert whole_estimate(info, config(), of_size(1 << 40)).remedies == ()


def test_several_changes_together_are_no_stronger_than_they_need_be(info: ModelInfo) -> None:
    run = config(data={"max_length": 1024}, method={"name": "lora", "rank": 32})
    changes = {"training.optimizer": "adafactor", "method.rank": 8, "data.max_length": 128}
    least = whole_estimate(info, apply_remedy(run, changes), of_size(1 << 40, 1)).total_bytes
    (together,) = [found for found in whole_estimate(info, run, of_size(1 << 40, least)).remedies if found.fits]
    assert (together.name, together.overrides, together.total_bytes) == ("together", changes, least)


@pytest.mark.parametrize(
    ("device", "recompute", "plain", "recomputed", "expected"),
    [
        ("cpu", "auto", 74, 50, False),
        ("cpu", "auto", 76, 50, True),
        ("cpu", "auto", 76, 74, False),  # next to nothing is spared
        ("cpu", "auto", 101, 99, True),
        ("cpu", "off", 76, 50, False),
        ("cuda", "auto", 76, 50, False),  # nobody else takes a GPU's memory
    ],
)
def test_on_a_processor_what_comes_near_the_free_memory_is_recomputed(
    device: str, recompute: Literal["auto", "off"], plain: int, recomputed: int, expected: bool
) -> None:
    fit = choose_fit(recompute, device, 256, 100, lambda fit: recomputed if fit.recompute else plain)
    assert fit.recompute is expected
