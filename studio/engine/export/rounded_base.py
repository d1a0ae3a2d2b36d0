"""The base as a run with a quantised base saw it: rounded to nf4 or int8, and held in fp32 again.

What such a run has learnt belongs to the rounded weights, and to no others: it also makes up for the rounding. So it
is merged into them, and an adapter is tried on them. The rounding is that of training, by the same library, and
exactly undone: products in fp32 of these weights are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314) without
the rounding of activations that a faster format of the products adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.engine.control import Progress, no_progress
from studio.engine.export.source import Source
from studio.engine.models.load import load_model
from studio.engine.models.quantise import round_weight
from studio.engine.models.structure import linear_layers
from studio.engine.precision.choose import QUANTISED, check_quantiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_rounded(source: Source) -> bool:
    """Return whether the run saw other weights than those in the base's files."""
    return source.config.precision.base_dtype in QUANTISED


def load_base(source: Source, progress: Progress = no_progress) -> PreTrainedModel:
    """Load the base in fp32, as the run saw it. Raises what `load_model` and `round_base` raise."""
    model = load_model(source.base, "fp32", progress)
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
    return model


def round_base(model: PreTrainedModel, base_dtype: str) -> None:
    """Round, in place, the weights that training would quantise. Raises what `round_layers` raises."""
    round_layers((model.get_submodule(layer.name) for layer in linear_layers(model)), base_dtype)


@torch.no_grad()
def round_layers(layers: Iterable[nn.Module], base_dtype: str) -> None:
    """Round the weights of linear layers in place, and keep them as plain fp32 layers.

    Raises:
        ConfigError: the library that quantises is not installed.
    """
    check_quantiser(base_dtype, torch.device("cpu"))
    for layer in layers:
        round_weight(layer, base_dtype)
