"""Which layers a method changes, found from what a model really has: the names and shapes of its linear layers.

There is no table of models here. A layer counts by its name from the number of its block on, such as
`self_attn.q_proj`; it belongs to attention when a part of that name says so, as it does in every family of
transformers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from studio.config import Suggestion
from studio.engine.models.shapes import LinearShape, ModelShapes, is_attention, is_embedding, is_output
from studio.errors import ConfigError
from studio.i18n import tr

ALL_LINEAR = "all-linear"
ATTENTION_ONLY = "attention-only"
AUTO = "auto"
LINEAR_LAYERS = "linear_layers"  # what `option(suggestions=…)` asks the model for

_IN_BLOCK = re.compile(r"(?:^|\.)\d+\.(.+)$")
_PARTS = [re.compile(rf"(^|_)({part})", re.IGNORECASE) for part in ("q_|q$|query", "k_|k$|key", "v_|v$|value")]
_KEYS_OR_VALUES = re.compile(r"(^|_)(k|v|kv)(_|$)|key|value|qkv", re.IGNORECASE)


@dataclass(frozen=True)
class Scaled:
    """The layers that IA3 scales: `outputs` by what leaves them, `inputs` by what enters them."""

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


def split_names(value: Any) -> Any:
    """Read a list of names that was written as one text."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def check_alone(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a word that stands for layers beside names of layers: which of the two is meant?"""
    word = next((name for name in names if name in (ALL_LINEAR, ATTENTION_ONLY, AUTO)), None)
    if word and len(names) > 1:
        raise ValueError(tr("{word} stands alone; take it, or the names of layers without it").format(word=word))
    return names


TargetModules = Annotated[
    tuple[str, ...], BeforeValidator(split_names), Field(min_length=1), AfterValidator(check_alone)
]


def named(layers: Sequence[LinearShape], names: Iterable[str], words: Sequence[str] = ()) -> list[LinearShape]:
    """Return the layers whose name is one of these, or ends in one, as peft chooses them.

    Args:
        words: what could have been written in place of names; one that is misspelt is named as well.

    Raises:
        ConfigError: one of the names is that of no linear layer, or of the output or an embedding.
    """
    chosen = {name: [layer for layer in layers if _is_called(layer, name)] for name in names}
    for name, found in chosen.items():
        if not found:
            raise ConfigError(_refusal(name, layers, words))
    wanted = {layer.name for found in chosen.values() for layer in found}
    return [layer for layer in layers if layer.name in wanted]


def short_names(chosen: Collection[LinearShape], layers: Iterable[LinearShape]) -> tuple[str, ...]:
    """Return names by which peft finds these of the layers and no others: one for all blocks where all are chosen."""
    wanted = {layer.name for layer in chosen}
    spared = {_in_block(layer) for layer in layers if layer.name not in wanted}
    short = {name for name in _names(chosen) if not any(f".{other}".endswith(f".{name}") for other in spared)}
    return tuple(dict.fromkeys(name if (name := _in_block(layer)) in short else layer.name for layer in chosen))


def linear_suggestions(layers: Sequence[LinearShape]) -> tuple[Suggestion, ...]:
    """Return the layers that can be named, those of all blocks under one name, with their sizes."""
    sizes: dict[str, set[str]] = {}
    for layer in _in_order(layers):
        sizes.setdefault(_in_block(layer), set()).add(f"{layer.inputs} → {layer.outputs}")
    scaled = scaled_by_default(layers)
    presets = {ATTENTION_ONLY: attention_only(layers), AUTO: (*scaled.outputs, *scaled.inputs)}
    return tuple(
        Suggestion(
            value=name,
            detail=" / ".join(sorted(found)),
            within=(ALL_LINEAR, *(word for word, names in presets.items() if name in names)),
        )
        for name, found in sizes.items()
    )


def suggestions_of(shapes: ModelShapes) -> dict[str, tuple[Suggestion, ...]]:
    """Return what a model offers for the options of methods, by `OptionSpec.suggestions`."""
    return {LINEAR_LAYERS: linear_suggestions(shapes.linear_layers)}


def attention_only(layers: Iterable[LinearShape]) -> tuple[str, ...]:
    """Return the names of the linear layers of attention; none where no name tells."""
    return _names(layer for layer in layers if _of_attention(layer))


def scaled_by_default(layers: Sequence[LinearShape]) -> Scaled:
    """Return the layers that make keys and values, and those by which the MLPs return to the residual stream.

    Where queries, keys and values come from one layer, it is that layer. Empty where neither name nor shape tells.
    """
    return Scaled(_names(_keys_and_values(layers)), _names(_returning(layers)))


def scaled_by_name(layers: Sequence[LinearShape], names: Iterable[str]) -> Scaled:
    """Return the layers of these names, each at the side on which IA3 scales it. Raises `ConfigError` as `named`."""
    chosen, returning = named(layers, names, (AUTO,)), set(_returning(layers))
    outputs = [layer for layer in chosen if layer not in returning]
    inputs = [layer for layer in chosen if layer in returning]
    return Scaled(short_names(outputs, layers), short_names(inputs, layers))


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
    return found is not None and is_attention(found[1])


def _names(layers: Iterable[LinearShape]) -> tuple[str, ...]:
    """Names that hold for every block, each once."""
    return tuple(dict.fromkeys(_in_block(layer) for layer in layers))


def _in_block(layer: LinearShape) -> str:
    """The name from the number of the block on; outside the blocks, the whole name."""
    return found[1] if (found := _IN_BLOCK.search(layer.name)) else layer.name


def _in_order(layers: Sequence[LinearShape]) -> list[LinearShape]:
    """As a token passes them, where names and shapes tell: files keep their layers in another order than models."""
    returning = set(_returning(layers))

    def place(layer: LinearShape) -> tuple[bool, int, bool, str]:
        last = layer.name.rpartition(".")[2]
        part = next((place for place, pattern in enumerate(_PARTS) if pattern.search(last)), len(_PARTS))
        by_number = re.sub(r"\d+", lambda number: number[0].zfill(6), _in_block(layer))  # expert 2 before expert 10
        return not _of_attention(layer), part, layer in returning, by_number

    return sorted(layers, key=place)


def _is_called(layer: LinearShape, name: str) -> bool:
    """Some files (GPT-2, OPT) leave out the first part of every name, which a name in full has all the same."""
    return f".{layer.name}".endswith(f".{name}") or name.endswith(f".{layer.name}")


def _refusal(name: str, layers: Sequence[LinearShape], words: Sequence[str]) -> str:
    names = _names(_in_order(layers))
    known = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    nearest = difflib.get_close_matches(name, [*words, *known, *names], n=2)
    if is_embedding(f"{name}.weight") or is_output(f"{name}.weight"):
        sentence = tr(
            "method.target_modules: {name} is the output or an embedding, which this method leaves as it is; name "
            "layers between them, such as {known}, or take method.name = full."
        )
    elif nearest:
        sentence = tr(
            "method.target_modules: {name} is not the name of a linear layer of this model; did you mean {nearest}?"
        )
    else:
        sentence = tr("method.target_modules: {name} is not the name of a linear layer of this model; it has {known}.")
    return sentence.format(name=name, known=tr(", ").join(known[:12]), nearest=tr(" or ").join(nearest))
