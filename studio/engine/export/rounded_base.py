"""The base as a run with a quantised base saw it: rounded to nf4 or int8, and held in fp32 again.

What such a run has learnt belongs to the rounded weights, and to no others: it also makes up for the rounding. So it
is merged into them, and an adapter is tried on them. The rounding is that of training, by the same library, and
exactly undone: products in fp32 of these weights are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314) without
the rounding of activations that a faster format of the products adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from studio.engine.control import Progress, no_progress
from studio.engine.export.source import Source
from studio.engine.models.load import load_model
from studio.engine.models.quantise import dequantised, quantise_base
from studio.engine.precision.choose import QUANTISED, check_quantiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Layers(nn.ModuleList):
    """Some layers of a model, none of which is its output."""

    def get_output_embeddings(self) -> None:
        return None


def round_layers(layers: Iterable[nn.Module], base_dtype: str) -> None:
    """Do the same as `round_base` with layers that are taken out of a model, its output not among them."""
    round_base(_Layers(layer for layer in layers if not any(layer.children())), base_dtype)  # type: ignore[arg-type]


def is_rounded(source: Source) -> bool:
    """Return whether the run saw other weights than those in the base's files."""
    return source.config.precision.base_dtype in QUANTISED


def load_base(source: Source, progress: Progress = no_progress) -> PreTrainedModel:
    """Load the base in fp32, as the run saw it. Raises what `load_model` and `round_base` raise."""
    model = load_model(source.base, "fp32", progress)
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
    return model


@torch.no_grad()
def round_base(model: PreTrainedModel, base_dtype: str) -> None:
    """Round, in place, the weights that training would quantise, and keep them as plain fp32 layers.

    Raises:
        ConfigError: the library that quantises is not installed.
    """
    device = torch.device("cpu")
    check_quantiser(base_dtype, device)
    plain = dict(model.named_modules())
    quantise_base(model, base_dtype, torch.float32, device)
    for name, layer in list(model.named_modules()):
        original: Any = plain.get(name)
        if original is not None and layer is not original:
            weight = dequantised(layer).to(original.weight.dtype)
            # GPT-2 keeps its weights as (inputs, outputs).
            original.weight.data = weight.t().contiguous() if layer.fan_in_fan_out else weight
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, original)
    delattr(model, "is_loaded_in_4bit" if base_dtype == "nf4" else "is_loaded_in_8bit")
