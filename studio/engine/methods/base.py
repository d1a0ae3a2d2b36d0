"""What a fine-tuning method is: a description that the window lists, and four functions for the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.config.method import MethodConfig
from studio.registry import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from studio.engine.models.activations import Formats, Kept
    from studio.engine.models.shapes import ModelShapes


# Name, format, shape and place of a tensor in a safetensors file: 111 to 132 bytes, measured on SmolLM2-135M.
_HEADER_LINE = 120


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Bytes of a number as a run stores it.

    Attributes:
        trained: of what is trained, and of a frozen word embedding, norms and biases.
        frozen: of every other frozen matrix.
    """

    trained: float
    frozen: float


@dataclass(frozen=True, kw_only=True)
class Method(Spec):
    """One way to fine-tune.

    Attributes:
        config: the class of its `[method]` table.
        form: what the trained part is saved as: "peft" (a PEFT adapter), "bottleneck" (this app's serial adapter) or
            "model" (all weights of the model, because all are trained).
        mergeable: whether the result can be folded into the base weights, at no latency.
        cost_in_use: what the trained part costs when the model answers, in one sentence.
        quantised_base: whether the base stays frozen, so that it can be stored in int8 or nf4.
        suggested_learning_rate: what the form offers when the method is chosen.
        attach: `(model, config)` freezes the base, adds what is trained, and returns the model to train;
            trainable parameters are fp32. A base that was quantised before keeps its quantised layers.
        save: `(trained, folder)` writes the trained part as safetensors into an existing folder.
        load: `(base, folder)` returns the base with the trained part from `folder`, frozen, for inference.
        merge: `(loaded)` returns a plain fp32 transformers model with the trained part folded in.
        trainable_parameters: `(shapes, config)`, the closed form, from the shapes in the weight files alone.
        saved_bytes: `(shapes, config, stored)`, the bytes of the numbers that the saved part holds; None when those are
            the trained ones, in the format that they are trained in.
        saved_tensors: likewise, how many tensors these numbers are in.
        virtual_tokens: `(config)`, the positions that the method puts in front of every row, in its output too.
        positions: `(config)`, how many of the model's positions the method takes away from every row; more than
            `virtual_tokens` where they are in the cache only.
        input_vectors: `(loaded)` returns what those positions hold, (virtual tokens, hidden size) in fp32; None when
            the method puts no vectors in front of the input.
        kept: `(shapes, config, formats)`, what the backward pass keeps beyond what it keeps of a frozen model, for
            the memory estimate; None where that is nothing.
    """

    config: type[MethodConfig]
    form: Literal["peft", "bottleneck", "model"]
    mergeable: bool
    quantised_base: bool
    cost_in_use: str
    suggested_learning_rate: float
    attach: Callable[[PreTrainedModel, Any], nn.Module]
    save: Callable[[nn.Module, Path], None]
    load: Callable[[PreTrainedModel, Path], nn.Module]
    merge: Callable[[nn.Module], PreTrainedModel] | None
    trainable_parameters: Callable[[ModelShapes, Any], int]
    saved_bytes: Callable[[ModelShapes, Any, Stored], float] | None = None
    saved_tensors: Callable[[ModelShapes, Any], int] = lambda shapes, config: 1
    virtual_tokens: Callable[[Any], int] = lambda config: 0
    positions: Callable[[Any], int] = lambda config: 0
    input_vectors: Callable[[nn.Module], Tensor] | None = None
    kept: Callable[[ModelShapes, Any, Formats], Kept] | None = None

    def patch_bytes(self, shapes: ModelShapes, config: MethodConfig, stored: Stored) -> int:
        """Return the size of the saved part: the numbers, and a line of the header for every tensor."""
        if self.saved_bytes:
            numbers = self.saved_bytes(shapes, config, stored)
        else:
            numbers = stored.trained * self.trainable_parameters(shapes, config)
        return int(numbers) + _HEADER_LINE * self.saved_tensors(shapes, config)
