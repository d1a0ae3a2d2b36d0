"""The shapes of a model's weights: enough for counts and estimates, without torch. `structure.py` finds them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_EMBEDDINGS = re.compile(r"(^|[._])(embed(?!_out\b)\w*|wte|wpe|word_embeddings)\.")
_OUTPUT = re.compile(r"(^|\.)(lm_head|embed_out)\.")
_POSITIONS = re.compile(r"(^|\.)(wpe|embed_positions|positions_embed|position_embeddings)\.")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_LAYER = re.compile(r"\.(\d+)\.")
# What config.json calls the hidden size, by family.
_CHOSEN_EXPERTS = ("num_experts_per_tok", "moe_topk", "moe_top_k", "moe_k", "top_k_experts")
HIDDEN_SIZE = ("hidden_size", "n_embd", "d_model")


@dataclass(frozen=True)
class LinearShape:
    """One linear layer: its module name and its numbers of inputs and outputs.

    `adaptable` says whether peft can adapt it: in some families it takes the names of shared experts for experts.
    """

    name: str
    inputs: int
    outputs: int
    adaptable: bool = True


@dataclass(frozen=True)
class ExpertShape:
    """The stacked weights of a layer's experts: the parameter's name, the number of experts, and the shape of each."""

    name: str
    experts: int
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class ModelShapes:
    """Shapes by parameter name, as the loaded model has them.

    Attributes:
        tensors: name to shape, such as `model.layers.0.self_attn.q_proj.weight` to `(576, 576)`, of the part that
            reads and continues text.
        other: the same of all else, such as a vision tower, which is never trained.
        linear_layers: those that methods may adapt and that may be stored in fewer bits.
        experts: the weights of experts, which are no linear layers.
        embedding: rows and columns of the word embedding: known tokens, and the size of a word vector.
        tied_embeddings: whether the output layer shares the embedding's weights.
        stored_bytes: size of the weights in the model's files.
        vocabulary_format: what the files keep the word embedding in, such as "bf16".
        config: config.json, with the settings of its part on text at the top, and the sizes that it leaves out.
        transposed: whether the linear layers store (inputs, outputs), as GPT-2's do.
    """

    tensors: dict[str, tuple[int, ...]]
    linear_layers: tuple[LinearShape, ...]
    embedding: tuple[int, int]
    tied_embeddings: bool
    stored_bytes: int
    vocabulary_format: str
    config: dict[str, object]
    other: dict[str, tuple[int, ...]] = field(default_factory=dict)
    experts: tuple[ExpertShape, ...] = ()
    transposed: bool = False

    @property
    def parameters(self) -> int:
        """Number of parameters of the model, shared ones counted once."""
        return sum(math.prod(shape) for shape in (*self.tensors.values(), *self.other.values()))

    def size(self, name: str) -> int:
        """Number of entries of one tensor."""
        return math.prod(self.tensors[name])

    @property
    def looked_up(self) -> list[str]:
        """Names of the embeddings of words that are no output layer at the same time."""
        tied = self.embedding if self.tied_embeddings else None
        return [
            name
            for name, shape in self.tensors.items()
            if len(shape) == 2 and shape != tied and is_word_embedding(name)
        ]

    @property
    def layers(self) -> int:
        """Number of layers that the weights hold."""
        return count_layers(self.tensors)

    @property
    def hidden_size(self) -> int:
        """d, the width of the residual stream."""
        return self.setting(*HIDDEN_SIZE) or self.embedding[1]

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
    def experts_per_token(self) -> int:
        """Number of experts that each token goes through; 0 where there are none."""
        return self.setting(*_CHOSEN_EXPERTS) or 0

    @property
    def learnt_positions(self) -> bool:
        """Whether the model looks its positions up in a table, so that there are no more than the table has."""
        return any(_POSITIONS.search(name) for name in self.tensors)

    def setting(self, *names: str) -> int | None:
        """Return the first of these whole numbers that config.json has."""
        return next((value for name in names if type(value := self.config.get(name)) is int), None)


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
