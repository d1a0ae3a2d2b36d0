"""The shapes of a model's weights as its files declare them: enough for counts and estimates, without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

# GPT-2's Conv1D stores (inputs, outputs); every other linear layer stores (outputs, inputs).
_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
_EMBEDDINGS = re.compile(r"(^|[._])(embed\w*|wte|wpe|word_embeddings|lm_head)\.")
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class LinearShape:
    """One linear layer: its module name and its numbers of inputs and outputs."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class ModelShapes:
    """Shapes by parameter name, read from the safetensors headers.

    Attributes:
        tensors: name to shape, such as `model.layers.0.self_attn.q_proj.weight` to `(576, 576)`.
        dtypes: name to the format it is stored in, such as `F32` or `BF16`.
        tied_embeddings: whether the output layer shares the embedding's weights.
        config: config.json as it stands in the folder.
    """

    tensors: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    tied_embeddings: bool
    config: dict[str, object]

    @property
    def parameters(self) -> int:
        """Number of parameters of the model, shared ones counted once."""
        return sum(self.size(name) for name in self.tensors)

    def size(self, name: str) -> int:
        """Number of entries of one tensor."""
        return math.prod(self.tensors[name])

    def linear(self, names: Collection[str] | None = None) -> list[LinearShape]:
        """Return the linear layers but for embeddings and output; with `names`, those whose name ends in one."""
        transposed = self.config.get("model_type") in _CONV1D_MODELS
        found = []
        for name, shape in self.tensors.items():
            module = name.removesuffix(".weight")
            if len(shape) == 2 and module != name and not is_embedding(name) and _named(module, names):
                outputs, inputs = reversed(shape) if transposed else shape
                found.append(LinearShape(module, inputs, outputs))
        return found


def is_embedding(name: str) -> bool:
    """Return whether a parameter belongs to the word or position embedding or to the output layer."""
    return _EMBEDDINGS.search(name) is not None


def layer_number(name: str) -> int | None:
    """Return the number of the layer that a parameter lies in, or None outside the layers."""
    match = _LAYER.search(name)
    return int(match[1]) if match else None


def _named(module: str, names: Collection[str] | None) -> bool:
    return names is None or any(module == name or module.endswith(f".{name}") for name in names)
