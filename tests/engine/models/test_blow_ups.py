"""A model folder whose small files stand for something huge is refused, and before anything is made of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from studio.engine.methods._peft import import_peft
from studio.engine.models.inspect import inspect_model
from tests.limits import ends

EARLIER = Path(__file__).parents[2] / "earlier"
MILLION = 10**6


def _header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def _empty(name: str) -> dict[str, Any]:
    return {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}


def _with(file: str, **changes: Any) -> bytes:
    return json.dumps(json.loads((EARLIER / "model" / file).read_bytes()) | changes).encode()


@pytest.fixture(autouse=True)
def _imported() -> None:
    """The child need not import the libraries anew."""
    import_peft()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", lambda: _with("config.json", num_hidden_layers=10**9), "absurdly large"),
        ("config.json", lambda: _with("config.json", vocab_size=10**9), "do not fit together"),
        ("config.json", lambda: b"{" + b",".join([b'"a":1'] * 300_000) + b"}", "stands in it twice"),
        ("config.json", lambda: _with("config.json", id2label={str(n): "x" for n in range(300_000)}), "too long"),
        (
            "model.safetensors",
            lambda: _header(_empty("model.layers.1000000000.mlp.up_proj.weight")),
            "1000000001 layers",
        ),
        (
            "model.safetensors",
            lambda: (60 * MILLION).to_bytes(8, "little") + b"{" + b" " * (60 * MILLION - 2) + b"}",  # a million tensors
            "absurdly long",
        ),
        (
            "tokenizer_config.json",
            lambda: _with("tokenizer_config.json", additional_special_tokens=[f"<s{n}>" for n in range(100_000)]),
            "too many tokens",
        ),
        (
            "tokenizer_config.json",
            lambda: _with(
                "tokenizer_config.json", added_tokens_decoder={n: {"content": f"<{n}>"} for n in range(50_000)}
            ),
            "too many tokens",
        ),
    ],
    ids=["layers", "vocabulary", "duplicates", "labels", "layer number", "tensors", "special tokens", "added tokens"],
)
def test_what_stands_for_something_huge_is_refused(tmp_path: Path, file: str, text: Any, words: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EARLIER / "model", folder)
    (folder / file).write_bytes(text())
    assert words in ends(lambda: inspect_model(folder))


def test_labels_of_a_classifier_are_made_for_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EARLIER / "model", folder)
    (folder / "config.json").write_bytes(_with("config.json", num_labels=10**9))
    assert ends(lambda: inspect_model(folder)) == ""
