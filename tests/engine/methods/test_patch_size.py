"""The size of the saved part that is told before training, against the files, for the shapes of SmolLM2-135M."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config.method import read_method
from studio.engine.methods import METHODS
from tests.engine.methods.smollm2 import shapes_of, smollm2

# Every patch there is, as it comes; and the smallest, of which names and header are the largest share.
TABLES: list[dict[str, Any]] = [{"name": method.name} for method in METHODS if method.form != "model"] + [
    {"name": "lora", "rank": 1},
    {"name": "lora", "dora": True, "rank": 8},
    {"name": "bottleneck-adapter", "bottleneck": 4},
    {"name": "bottleneck-adapter", "placement": "pfeiffer", "train_layer_norms": True},
    {"name": "prompt-tuning", "virtual_tokens": 5},
    {"name": "prefix-tuning", "virtual_tokens": 1},
]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_the_told_size_is_within_five_per_cent_of_the_files(table: dict[str, Any], tmp_path: Path) -> None:
    config, model = read_method(table), smollm2()
    method = METHODS.get(config.name)
    told = method.patch_bytes(shapes_of(model), config)
    method.save(method.attach(model, config), tmp_path)
    assert told == pytest.approx(sum(file.stat().st_size for file in tmp_path.glob("*.safetensors")), rel=0.05)
