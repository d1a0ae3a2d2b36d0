"""The output layer's weights in the compute format, converted once instead of at every forward pass.

A conversion of a whole vocabulary at each micro-batch takes a twentieth of the time of a small model. Where the
weights are stored in the compute format, there is nothing to convert.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def keep_head_converted(base: PreTrainedModel, dtype: torch.dtype) -> None:
    """Let a frozen output layer compute with a copy of its weights in `dtype` while autocast is on."""
    head = base.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.requires_grad or head.weight.dtype is dtype:
        return
    copy, plain = head.weight.detach().to(dtype), head.forward

    def forward(layer: nn.Linear, x: Tensor) -> Tensor:
        return F.linear(x, copy, layer.bias) if torch.is_autocast_enabled(x.device.type) else plain(x)

    head.forward = types.MethodType(forward, head)  # type: ignore[method-assign]
