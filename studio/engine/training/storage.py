"""The format of each stored weight: frozen ones as matrix products take them, trained ones as the precision says.

Autocast would convert every frozen weight to 16 bits in every forward pass. Stored in 16 bits, it gives the same
products, bit for bit. Embeddings, norms and all that is trained stay in fp32, so the sums between the layers stay
fp32, too. In a pure precision everything is in 16 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.config import MethodConfig, PrecisionConfig
from studio.engine.dtypes import torch_dtype
from studio.engine.methods import METHODS
from studio.engine.models.quantise import quantise_base
from studio.engine.precision import Precision
from studio.engine.precision.choose import QUANTISED, choose_storage

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def attach_stored(
    base: PreTrainedModel, method: MethodConfig, precision: Precision, config: PrecisionConfig, device: torch.device
) -> nn.Module:
    """Return the model to train, on `device`, with every weight in its format; changes `base`, an fp32 model."""
    stored = choose_storage(config, precision)
    if stored in QUANTISED:
        quantise_base(base, stored, torch_dtype(precision.autocast or "fp32"), device)
    trained = METHODS.get(method.name).attach(base, method)
    if precision.pure:
        _store_pure(trained, torch_dtype(precision.parameters))
    if stored not in QUANTISED:
        _store_frozen(trained, base, torch_dtype(stored))
    return trained.to(device)


def _store_frozen(trained: nn.Module, base: PreTrainedModel, dtype: torch.dtype) -> None:
    """Convert, in place, the frozen two-dimensional weights but for embeddings and what shares their storage.

    No weight stays in the memory that the weight files are mapped into, so that the system can have it back.
    """
    shared = {id(m.weight) for m in (base.get_input_embeddings(), base.get_output_embeddings()) if m is not None}
    for parameter in trained.parameters():
        if not parameter.requires_grad and parameter.dim() == 2 and id(parameter) not in shared:
            parameter.data = parameter.data.to(dtype, copy=True)
        else:
            parameter.data = parameter.data.clone()


def _store_pure(trained: nn.Module, dtype: torch.dtype) -> None:
    """Convert, in place, every weight that is not quantised. Gradients are summed in fp32 all the same.

    A 16-bit sum of micro-batches would lose the small ones, and fp16 gradients divided by the loss scale would flush
    to zero. Buffers stay as they are: rotary frequencies in 16 bits would be other positions.
    """
    for parameter in trained.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
        if parameter.requires_grad:
            parameter.grad_dtype = torch.float32
