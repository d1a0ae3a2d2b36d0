"""The shapes of a model's weights as its files declare them: enough for counts and estimates, without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

# GPT-2's Conv1D stores (inputs, outputs); every other linear layer stores (outputs, inputs).
_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
_EMBEDDINGS = re.compile(r"(^|[._])(embed(?!_out\b)\w*|wte|wpe|word_embeddings)\.")
_OUTPUT = re.compile(r"(^|\.)(lm_head|embed_out)\.")
_POSITIONS = re.compile(r"(^|\.)(wpe|embed_positions|position_embeddings)\.")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_LAYER = re.compile(r"\.(\d+)\.")
# What config.json calls the hidden size, by family.
HIDDEN_SIZE = ("hidden_size", "n_embd", "d_model")


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

    @property
    def layers(self) -> int:
        """Number of layers that the weights hold."""
        return count_layers(self.tensors)

    @property
    def embedding(self) -> tuple[int, int] | None:
        """Rows and columns of the word embedding: known tokens, and hidden size."""
        for name, shape in self.tensors.items():
            if len(shape) == 2 and is_word_embedding(name):
                return shape[0], shape[1]
        return None

    @property
    def hidden_size(self) -> int:
        """d, the width of the residual stream; 0 where neither config.json nor an embedding tells."""
        return self.setting(*HIDDEN_SIZE) or (self.embedding or (0, 0))[1]

    @property
    def heads(self) -> int:
        """Number of heads of attention."""
        return self.setting("num_attention_heads", "n_head") or 1

    @property
    def attention_width(self) -> int:
        """Numbers that the heads of one layer put out for a token: heads · head size."""
        return self.heads * (self.setting("head_dim") or self.hidden_size // self.heads)

    @property
    def key_width(self) -> int:
        """Numbers in the keys of one layer for a token: fewer where several heads share keys and values."""
        return self.attention_width * (self.setting("num_key_value_heads") or self.heads) // self.heads

    @property
    def learnt_positions(self) -> bool:
        """Whether the model looks its positions up in a table, so that there are no more than the table has."""
        return any(_POSITIONS.search(name) for name in self.tensors)

    @property
    def transposed(self) -> bool:
        """Whether the linear layers store (inputs, outputs), as GPT-2's do."""
        return self.config.get("model_type") in _CONV1D_MODELS

    def setting(self, *names: str) -> int | None:
        """Return the first of these whole numbers that config.json has, also in its part on text."""
        text = self.config.get("text_config")
        for values in (self.config, text if isinstance(text, dict) else {}):
            for name in names:
                if type(value := values.get(name)) is int:
                    return value
        return None

    def linear(self) -> list[LinearShape]:
        """Return the linear layers but for embeddings and output."""
        found = []
        for name, shape in self.tensors.items():
            module = name.removesuffix(".weight")
            if len(shape) == 2 and module != name and not is_embedding(name) and not is_output(name):
                outputs, inputs = reversed(shape) if self.transposed else shape
                found.append(LinearShape(module, inputs, outputs))
        return found


def is_embedding(name: str) -> bool:
    """Return whether a parameter belongs to the word or position embedding."""
    return _EMBEDDINGS.search(name) is not None


def is_word_embedding(name: str) -> bool:
    """Return whether a parameter belongs to the word embedding."""
    return is_embedding(name) and not _POSITIONS.search(name)


def is_output(name: str) -> bool:
    """Return whether a parameter belongs to the output layer."""
    return _OUTPUT.search(name) is not None


def is_attention(name: str) -> bool:
    """Return whether a module or parameter belongs to attention: its name says so, in every family of transformers."""
    return _ATTENTION.search(name) is not None


def layer_number(name: str) -> int | None:
    """Return the number of the layer that a parameter lies in, or None outside the layers."""
    match = _LAYER.search(name)
    return int(match[1]) if match else None


def count_layers(names: Iterable[str]) -> int:
    """Return the number of layers that parameters of these names lie in."""
    return 1 + max((number for name in names if (number := layer_number(name)) is not None), default=-1)
