"""An adapter from a stranger is checked before peft sees it: it opens, or one sentence says why not."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from studio.config.method import read_method
from studio.engine.methods import METHODS
from studio.errors import ModelError
from tests.tiny import llama

TABLES: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 4},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 3},
    "p-tuning": {"name": "p-tuning", "virtual_tokens": 3},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 3},
}
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters as we save them, by method."""
    folders = {}
    for name, table in TABLES.items():
        config = read_method(table)
        folders[name] = tmp_path_factory.mktemp(name)
        method = METHODS.get(name)
        method.save(method.attach(llama(), config), folders[name])
    return folders


def _copy(source: Path, place: Path, **changes: Any) -> Path:
    place.mkdir()
    config = json.loads((source / CONFIG).read_text()) | changes
    (place / CONFIG).write_text(json.dumps(config))
    (place / WEIGHTS).write_bytes((source / WEIGHTS).read_bytes())
    return place


def _load(name: str, folder: Path) -> Any:
    base: PreTrainedModel = llama()
    return METHODS.get(name).load(base, folder)


@pytest.mark.parametrize("name", TABLES)
def test_our_own_adapters_open(saved: dict[str, Path], name: str) -> None:
    _load(name, saved[name])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target_modules", "(a+)+$"),
        ("target_modules", [1]),
        ("target_modules", ["no_such_layer"]),
        ("init_lora_weights", "pissa_niter_999999"),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", ["pissa"]),
        ("r", 10**9),
        ("r", 4096),
        ("r", 0),
        ("r", 3.5),
        ("r", "8"),
        ("lora_alpha", 1e300),
        ("lora_dropout", 7),
        ("peft_type", "XLORA"),
        ("peft_type", ["LORA"]),
        ("peft_type", None),
        ("task_type", "SEQ_CLS"),
        ("auto_mapping", {"base_model_class": "Popen", "parent_library": "subprocess"}),
        ("megatron_config", {"a": 1}),
        ("megatron_core", "os"),
        ("modules_to_save", ["lm_head"]),
        ("layer_replication", [[0, 10**9]]),
        ("rank_pattern", {"(a+)+$": 4}),
        ("rank_pattern", {"q_proj": 10**9}),
        ("alpha_pattern", {"q_proj": "x"}),
        ("trainable_token_indices", [1]),
        ("bias", "all"),
        ("a_key_of_tomorrow", "on"),
    ],
)
def test_a_configuration_that_asks_for_more_is_refused(
    saved: dict[str, Path], tmp_path: Path, key: str, value: Any
) -> None:
    with pytest.raises(ModelError) as refused:
        _load("lora", _copy(saved["lora"], tmp_path / "one", **{key: value}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("prompt-tuning", "num_virtual_tokens", 10**9),
        ("prompt-tuning", "num_virtual_tokens", 4),
        ("prompt-tuning", "token_dim", 1 << 20),
        ("prefix-tuning", "num_layers", 10**6),
        ("ia3", "feedforward_modules", ".*"),
    ],
)
def test_sizes_that_the_file_does_not_have_are_refused(
    saved: dict[str, Path], tmp_path: Path, name: str, key: str, value: Any
) -> None:
    with pytest.raises(ModelError):
        _load(name, _copy(saved[name], tmp_path / "one", **{key: value}))


def test_the_base_that_it_names_is_not_followed(saved: dict[str, Path], tmp_path: Path) -> None:
    _load("lora", _copy(saved["lora"], tmp_path / "one", base_model_name_or_path="https://example.org/evil"))


def test_a_pickle_is_never_opened_beside_or_without_a_decoy(saved: dict[str, Path], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = _copy(saved["lora"], tmp_path / "one")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Payload()))
    _load("lora", folder)  # the safetensors are read
    (folder / WEIGHTS).rename(folder / "model.safetensors")  # a decoy
    with pytest.raises(ModelError, match="never opened"):
        _load("lora", folder)
    assert not (tmp_path / "ran").exists()


def _change(folder: Path, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors, next(iter(tensors)))
    save_file(tensors, folder / WEIGHTS)


def _nan(tensors: Any, first: str) -> None:
    tensors[first][0, 0] = torch.nan


def _missing(tensors: Any, first: str) -> None:
    del tensors[first]


def _more(tensors: Any, first: str) -> None:
    tensors["base_model.model.nowhere.lora_A.weight"] = tensors[first].clone()


def _shape(tensors: Any, first: str) -> None:
    tensors[first] = tensors[first][:, :1].contiguous()


@pytest.mark.parametrize("change", [_nan, _missing, _more, _shape])
def test_weights_that_are_not_those_of_the_base_are_refused(
    saved: dict[str, Path], tmp_path: Path, change: Any
) -> None:
    folder = _copy(saved["lora"], tmp_path / "one")
    _change(folder, change)
    with pytest.raises(ModelError):
        _load("lora", folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_what_is_no_file_is_not_waited_for(saved: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = _copy(saved["lora"], tmp_path / "one")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelError):
        _load("lora", folder)
