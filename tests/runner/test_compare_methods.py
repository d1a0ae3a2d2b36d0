"""What every method amounts to for one model: figures that can be checked against the model itself."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from studio.config import RunConfig, parse_config
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.errors import ConfigError
from studio.runner import actions
from studio.runner.actions import MethodRow
from tests.tiny import llama, save_model


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    return actions.open_model(str(save_model(tmp_path_factory.mktemp("model"))))


def config(info: ModelInfo, **tables: Any) -> RunConfig:
    defaults = {"precision": {"name": "fp32"}, "training": {"device": "cpu"}}
    model = {"model": {"path": str(info.path)}, "data": {"sources": [{"path": "-"}]}}
    return parse_config(defaults | model | tables)


def compared(info: ModelInfo, chosen: RunConfig, *tables: Any) -> dict[str, MethodRow]:
    return {row.name: row for row in actions.compare_methods(info, chosen, tables)}


def test_every_method_of_the_registry_has_a_row_in_its_order(info: ModelInfo) -> None:
    rows = actions.compare_methods(info, config(info))
    assert [row.name for row in rows] == list(METHODS.names())
    assert [row.name for row in rows if row.problem] == []


def test_counts_are_those_of_the_model_itself(info: ModelInfo) -> None:
    model = llama()
    rows = compared(info, config(info, method={"name": "lora", "rank": 4}))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    linear = [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
    lora, full = rows["lora"].estimate, rows["full"].estimate
    assert lora is not None
    assert full is not None
    assert lora.trainable_parameters == sum(4 * (layer.in_features + layer.out_features) for layer in linear)
    assert lora.total_parameters == parameters + lora.trainable_parameters
    assert full.trainable_parameters == full.total_parameters == parameters
    assert full.patch_bytes == pytest.approx(4 * parameters, rel=0.05)


def test_a_patch_is_half_as_large_where_training_stores_16_bits(info: ModelInfo) -> None:
    pure = actions.estimate(info, config(info, method={"name": "full"}, precision={"name": "bf16-pure"}))
    assert pure.patch_bytes == pytest.approx(2 * pure.trainable_parameters, rel=0.05)


@pytest.mark.parametrize("name", METHODS.names())
def test_a_row_says_what_the_estimate_of_that_method_says(info: ModelInfo, name: str) -> None:
    row = compared(info, config(info))[name].estimate
    alone = actions.estimate(info, config(info, method={"name": name}))
    assert row is not None
    assert (row.trainable_parameters, row.patch_bytes, row.bytes) == (
        alone.trainable_parameters,
        alone.patch_bytes,
        alone.bytes,
    )
    assert row.total_bytes == sum(row.bytes.values())


def test_the_chosen_method_has_its_own_options_and_others_those_that_are_given(info: ModelInfo) -> None:
    defaults = compared(info, config(info, method={"name": "full"}))["lora"].estimate
    given = compared(info, config(info, method={"name": "full"}), {"name": "lora", "rank": 1})["lora"].estimate
    chosen = compared(info, config(info, method={"name": "lora", "rank": 1}), {"name": "lora", "rank": 64})
    assert defaults is not None
    assert given is not None
    assert given.trainable_parameters * 16 == defaults.trainable_parameters
    assert chosen["lora"].estimate is not None
    assert chosen["lora"].estimate.trainable_parameters == given.trainable_parameters


def test_options_that_are_wrong_are_a_sentence_in_the_row(info: ModelInfo) -> None:
    rows = compared(info, config(info, method={"name": "full"}), {"name": "lora", "rank": 0})
    assert rows["lora"].estimate is None
    assert rows["lora"].problem.startswith("method.rank = 0")
    assert rows["full"].estimate is not None


def test_a_precision_that_a_method_has_no_use_for_is_a_sentence_in_its_row(info: ModelInfo) -> None:
    rows = compared(info, config(info, precision={"name": "fp32", "base_dtype": "nf4"}))
    assert "base_dtype = nf4" in rows["full"].problem
    assert rows["lora"].estimate is not None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigError("This model has no layers that could be adapted."), "This model has no layers"),
        (ZeroDivisionError(), "failed unexpectedly (ZeroDivisionError)"),
    ],
)
def test_a_closed_form_that_fails_for_a_model_is_a_row_and_not_the_end(
    info: ModelInfo, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(METHODS.get("full"), "trainable_parameters", fail)
    rows = compared(info, config(info))
    assert sentence in rows["full"].problem
    assert rows["lora"].estimate is not None


def test_exports_are_the_targets_that_do_not_refuse() -> None:
    names = {name: [target.name for target in actions.exports_of(METHODS.get(name))] for name in ("lora", "full")}
    assert {"merged", "adapter"} <= set(names["lora"])
    assert "merged" in names["full"]
    assert "adapter" not in names["full"]


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_an_export(name: str) -> None:
    assert actions.exports_of(METHODS.get(name))


def test_what_fits_is_what_is_not_more_than_there_is() -> None:
    def needs(total: int) -> actions.Estimate:
        return actions.Estimate(
            trainable_parameters=1,
            total_parameters=1,
            patch_bytes=4,
            bytes={"weights": total},
            total_bytes=total,
            available_bytes=100,
            device_bytes=200,
            device="cpu",
            rows=1,
            choices={},
        )

    assert needs(100).fits
    assert not needs(101).fits
