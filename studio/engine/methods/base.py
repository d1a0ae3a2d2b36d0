"""What a fine-tuning method is: a description that the window lists, and four functions for the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.method import MethodConfig
from studio.registry import Spec

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from studio.engine.models.shapes import ModelShapes


@dataclass(frozen=True, kw_only=True)
class Method(Spec):
    """One way to fine-tune.

    Attributes:
        config: the class of its `[method]` table.
        mergeable: whether the result can be folded into the base weights, at no latency.
        quantised_base: whether the base stays frozen, so that it can be stored in int8 or nf4.
        suggested_learning_rate: what the form offers when the method is chosen.
        attach: `(model, config)` freezes the base, adds what is trained, and returns the model to train;
            trainable parameters are fp32. A base that was quantised before keeps its quantised layers.
        save: `(trained, folder)` writes the trained part as safetensors into an existing folder.
        load: `(base, folder)` returns the base with the trained part from `folder`, frozen, for inference.
        merge: `(loaded)` returns a plain fp32 transformers model with the trained part folded in.
        trainable_parameters: `(shapes, config)`, the closed form, from the shapes in the weight files alone.
    """

    config: type[MethodConfig]
    mergeable: bool
    quantised_base: bool
    suggested_learning_rate: float
    attach: Callable[[PreTrainedModel, Any], nn.Module]
    save: Callable[[nn.Module, Path], None]
    load: Callable[[PreTrainedModel, Path], nn.Module]
    merge: Callable[[nn.Module], PreTrainedModel] | None
    trainable_parameters: Callable[[ModelShapes, Any], int]
