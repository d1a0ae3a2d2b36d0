"""Storage of frozen weights: in the format of the products they enter, so that no step converts them again.

Autocast would convert every frozen weight at every forward pass; storing it converted gives the same products,
bit for bit. Embeddings, norms and everything trained keep fp32, so the sums between the layers stay fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.engine.autocast import DTYPES
from studio.engine.precision import Precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def frozen_dtype(precision: Precision, base_dtype: str) -> torch.dtype:
    """Return the storage format of frozen linear weights; `auto` is the compute format."""
    name = (precision.autocast or "fp32") if base_dtype == "auto" else base_dtype
    return DTYPES[name]


def store_frozen(trained: nn.Module, base: PreTrainedModel, dtype: torch.dtype) -> None:
    """Convert, in place, the frozen two-dimensional weights but for embeddings and what shares their storage."""
    shared = {id(m.weight) for m in (base.get_input_embeddings(), base.get_output_embeddings()) if m is not None}
    for parameter in trained.parameters():
        if not parameter.requires_grad and parameter.dim() == 2 and id(parameter) not in shared:
            parameter.data = parameter.data.to(dtype)
