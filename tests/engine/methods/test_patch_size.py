"""The size of the saved part that is told before training, against the files, in the formats that training stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from studio.config import MethodConfig, PrecisionConfig
from studio.config.method import read_method
from studio.engine.estimate import bytes_per_weight
from studio.engine.methods import METHODS
from studio.engine.models.shapes import ModelShapes
from studio.engine.precision import PRECISIONS
from studio.engine.training.model import attach_stored
from tests.engine.methods import layouts
from tests.engine.methods.smollm2 import shapes_of, smollm2

# Every patch there is, as it comes; and the smallest, of which names and header are the largest share.
TABLES: list[dict[str, Any]] = [{"name": method.name} for method in METHODS if method.form != "model"] + [
    {"name": "lora", "rank": 1},
    {"name": "lora", "target_modules": ["attention-only"]},
    {"name": "lora", "dora": True, "rank": 8},
    {"name": "lora", "init": "pissa", "rank": 2},
    {"name": "bottleneck-adapter", "bottleneck": 1},
    {"name": "bottleneck-adapter", "placement": "pfeiffer", "train_layer_norms": True},
    {"name": "prompt-tuning", "virtual_tokens": 5},
    {"name": "p-tuning", "encoder": "lstm", "hidden_size": 128},
    {"name": "prefix-tuning", "virtual_tokens": 1},
]
FULL: list[dict[str, Any]] = [{}, {"freeze_layers": 1}, {"freeze_layers": 2, "freeze_embeddings": True}]
CHOICES = [PrecisionConfig(name=name) for name in PRECISIONS.names()]
LAYERS = 6  # a patch has the same tensors and names in each; a small share of the file is for all layers together
WIDE_BASE = PrecisionConfig(name="bf16-mixed", base_dtype="fp32")


def _told_and_saved(
    model: PreTrainedModel, shapes: ModelShapes, method: MethodConfig, choice: PrecisionConfig, folder: Path
) -> tuple[int, int]:
    """What is told of a patch, and the bytes of its files, saved as a run stores it."""
    precision = PRECISIONS.get(choice.name)
    told = METHODS.get(method.name).patch_bytes(shapes, method, bytes_per_weight(choice, precision))
    trained = attach_stored(model, method, precision, choice, torch.device("cpu"))
    METHODS.get(method.name).save(trained, folder)
    return told, sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_the_told_size_is_within_five_per_cent_of_the_files(
    table: dict[str, Any], choice: PrecisionConfig, tmp_path: Path
) -> None:
    model = smollm2(LAYERS)
    told, saved = _told_and_saved(model, shapes_of(model), read_method(table), choice, tmp_path)
    assert told == pytest.approx(saved, rel=0.05)


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("choice", [*CHOICES, WIDE_BASE], ids=lambda choice: f"{choice.name}, {choice.base_dtype}")
@pytest.mark.parametrize("options", FULL, ids=str)
def test_so_is_that_of_a_whole_model_frozen_layers_and_all(
    options: dict[str, Any], choice: PrecisionConfig, layout: str, tmp_path: Path
) -> None:
    shapes = layouts.shapes_of(layout, tmp_path)
    (folder := tmp_path / "saved").mkdir()
    method = read_method({"name": "full", **options})
    told, saved = _told_and_saved(layouts.make(layout), shapes, method, choice, folder)
    assert told == pytest.approx(saved, rel=0.05)
