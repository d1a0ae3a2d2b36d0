"""Changing the files of a model folder, in tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys; a key set to None is removed."""
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    values = {key: value for key, value in (values | changes).items() if value is not None}
    path.write_text(json.dumps(values), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors in place."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def edit_header(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header and leave the data as it is."""
    header, data = split(folder)
    change(header)
    write_raw(folder, json.dumps(header).encode(), data)


def split(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The header of the weight file, and the data behind it."""
    raw = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write_raw(folder: Path, header: bytes, data: bytes = b"", *, length: int | None = None) -> None:
    """Write a weight file from its parts; `length` is what it claims of its header."""
    claimed = len(header) if length is None else length
    (folder / WEIGHTS).write_bytes(claimed.to_bytes(8, "little") + header + data)


def shard(folder: Path, **changes: str) -> None:
    """Split the weights into two shards with an index; `changes` are entries of its weight map."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {}, "weight_map": places | changes}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def set_template(folder: Path, template: str | None) -> None:
    """Give the model another chat template, or none."""
    file = folder / "chat_template.jinja"
    file.unlink(missing_ok=True)
    if template is not None:
        file.write_text(template, encoding="utf-8")
