"""How many numbers each method trains and saves: closed forms against peft's own count and against the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from studio.config.method import read_method
from studio.engine.methods import METHODS
from studio.engine.methods.base import BytesPerWeight
from studio.engine.models.shapes import ModelShapes
from studio.errors import ConfigError
from tests.engine.methods import smollm2
from tests.engine.methods.layouts import LAYOUTS, make, shapes_of

TABLES: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 4},
    "lora, attention": {"name": "lora", "rank": 4, "target_modules": ["attention-only"]},
    "dora": {"name": "lora", "rank": 4, "dora": True},
    "pissa": {"name": "lora", "rank": 4, "init": "pissa"},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 7},
    "p-tuning, mlp": {"name": "p-tuning", "virtual_tokens": 7},
    "p-tuning, narrow mlp": {"name": "p-tuning", "virtual_tokens": 7, "hidden_size": 9},
    "p-tuning, lstm": {"name": "p-tuning", "virtual_tokens": 7, "encoder": "lstm", "hidden_size": 9},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 7},
}


def _peft_count(table: dict[str, Any], model: PreTrainedModel) -> int:
    config = read_method(table)
    count, _ = METHODS.get(config.name).attach(model, config).get_nb_trainable_parameters()
    return int(count)


def _closed_form(table: dict[str, Any], shapes: ModelShapes) -> int:
    config = read_method(table)
    return METHODS.get(config.name).trainable_parameters(shapes, config)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", TABLES)
def test_the_closed_form_is_pefts_own_count(method: str, layout: str, tmp_path: Path) -> None:
    assert _closed_form(TABLES[method], shapes_of(layout, tmp_path)) == _peft_count(TABLES[method], make(layout))


FULL: list[dict[str, Any]] = [
    {},
    {"freeze_embeddings": True},
    {"freeze_layers": 1},
    {"freeze_layers": 2},
    {"freeze_embeddings": True, "freeze_layers": 2},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("table", FULL, ids=str)
def test_the_closed_form_of_full_fine_tuning_is_what_is_trained(
    table: dict[str, Any], layout: str, tmp_path: Path
) -> None:
    trained = METHODS.get("full").attach(make(layout), read_method({"name": "full", **table}))
    count = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    assert _closed_form({"name": "full", **table}, shapes_of(layout, tmp_path)) == count > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frozen_embeddings_are_those_of_the_input_and_the_output_only_where_it_is_tied_to_them(layout: str) -> None:
    model = make(layout)
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    METHODS.get("full").attach(model, read_method({"name": "full", "freeze_embeddings": True}))
    assert not embedding.requires_grad
    assert output.requires_grad == (output is not embedding)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_layers_than_there_are_cannot_be_frozen(layout: str, tmp_path: Path) -> None:
    table = {"name": "full", "freeze_layers": 3}
    words = "method.freeze_layers = 3: this model has 2 layers; freeze 2 at most."
    with pytest.raises(ConfigError, match=words):
        METHODS.get("full").attach(make(layout), read_method(table))
    with pytest.raises(ConfigError, match=words):
        _closed_form(table, shapes_of(layout, tmp_path))


@pytest.fixture(scope="module")
def smol() -> ModelShapes:
    shapes = smollm2.shapes_of(smollm2.smollm2())
    assert shapes.parameters == smollm2.PARAMETERS
    return shapes


# d = 576, the inner size of the MLP 1536, keys and values 192 wide, 30 layers.
SMOLLM2: dict[str, tuple[dict[str, Any], int]] = {
    "lora": ({"name": "lora"}, 4_884_480),
    "lora, attention": (
        {"name": "lora", "target_modules": ["attention-only"]},
        30 * 16 * 2 * ((576 + 576) + (576 + 192)),
    ),
    "ia3": ({"name": "ia3"}, 30 * (192 + 192 + 1536)),
    "prompt-tuning": ({"name": "prompt-tuning"}, 20 * 576),
    "p-tuning, mlp": ({"name": "p-tuning"}, 20 * 576 + 3 * (576 * 576 + 576)),
    "p-tuning, lstm": (
        {"name": "p-tuning", "encoder": "lstm", "hidden_size": 128},
        20 * 576
        + 2 * (4 * 128 * 576 + 4 * 128 * 128 + 8 * 128)
        + 2 * (4 * 128 * 256 + 4 * 128 * 128 + 8 * 128)
        + (256 * 256 + 256)
        + (256 * 576 + 576),
    ),
    "prefix-tuning": ({"name": "prefix-tuning"}, 20 * 2 * 30 * 192),
}


@pytest.mark.parametrize("method", SMOLLM2)
def test_the_counts_for_smollm2_are_those_of_the_papers_formulas(method: str, smol: ModelShapes) -> None:
    table, count = SMOLLM2[method]
    assert _closed_form(table, smol) == count
    assert _peft_count(table, smollm2.smollm2()) == count


def test_p_tuning_saves_the_vectors_and_not_the_network_that_made_them(tmp_path: Path) -> None:
    config = read_method(TABLES["p-tuning, lstm"])
    method = METHODS.get("p-tuning")
    shapes = shapes_of("llama", tmp_path)
    saved = method.saved_bytes(shapes, config, BytesPerWeight(trained=4, frozen=4))
    assert saved == 4 * 7 * 32 < 4 * method.trainable_parameters(shapes, config)
