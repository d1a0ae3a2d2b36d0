"""Which layers a method changes, found from what a model really has: the names and shapes of its linear layers.

There is no table of models here. A layer counts by its name from the number of its block on, such as
`self_attn.q_proj`; it belongs to attention when a part of that name says so, as it does in every family of
transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.engine.models.shapes import LinearShape

ALL_LINEAR = "all-linear"
ATTENTION_ONLY = "attention-only"

_IN_BLOCK = re.compile(r"(?:^|\.)\d+\.(.+)$")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_KEYS_OR_VALUES = re.compile(r"(^|_)(k|v|kv)(_|$)|key|value|qkv", re.IGNORECASE)


@dataclass(frozen=True)
class Scaled:
    """The layers that IA3 scales: `outputs` by what leaves them, `inputs` by what enters them."""

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


def split_names(value: Any) -> Any:
    """Read a list of names that was written as one text."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def named(layers: Iterable[LinearShape], names: Iterable[str]) -> list[LinearShape]:
    """Return the layers whose name is one of these, or ends in one, as peft chooses them."""
    ends = tuple(f".{name}" for name in names)
    return [layer for layer in layers if f".{layer.name}".endswith(ends)]


def attention_only(layers: Iterable[LinearShape]) -> tuple[str, ...]:
    """Return the names of the linear layers of attention; none where no name tells."""
    return _names(layer for layer in layers if _of_attention(layer))


def scaled_by_default(layers: Sequence[LinearShape]) -> Scaled:
    """Return the layers that make keys and values, and those by which the MLPs return to the residual stream.

    Where queries, keys and values come from one layer, it is that layer. Empty where neither name nor shape tells.
    """
    return Scaled(_names(_keys_and_values(layers)), _names(_returning(layers)))


def scaled_by_name(layers: Sequence[LinearShape], names: Iterable[str]) -> Scaled:
    """Return the layers of these names, each at the side on which IA3 scales it."""
    chosen, returning = named(layers, names), _returning(layers)
    outputs = _names(layer for layer in chosen if layer not in returning)
    return Scaled(outputs, _names(layer for layer in chosen if layer in returning))


def _keys_and_values(layers: Iterable[LinearShape]) -> list[LinearShape]:
    attention = [layer for layer in layers if _of_attention(layer)]
    by_name = [layer for layer in attention if _KEYS_OR_VALUES.search(layer.name.rpartition(".")[2])]
    # GPT-2 calls its fused layer c_attn; of the layers of attention it alone has more outputs than inputs.
    return by_name or [layer for layer in attention if layer.outputs > layer.inputs]


def _returning(layers: Sequence[LinearShape]) -> list[LinearShape]:
    """The layers of the MLPs that take something else than the hidden state and give something of its size."""
    hidden = {layer.inputs for layer in _keys_and_values(layers)}
    return [
        layer
        for layer in layers
        if _IN_BLOCK.search(layer.name)
        and not _of_attention(layer)
        and layer.outputs in hidden
        and layer.inputs not in hidden
    ]


def _of_attention(layer: LinearShape) -> bool:
    found = _IN_BLOCK.search(layer.name)
    return found is not None and _ATTENTION.search(found[1]) is not None


def _names(layers: Iterable[LinearShape]) -> tuple[str, ...]:
    """Names that hold for every block, each once."""
    names = ((found[1] if (found := _IN_BLOCK.search(layer.name)) else layer.name) for layer in layers)
    return tuple(dict.fromkeys(names))
