"""Attention on processors: torch's flash kernel runs backward twice as fast in fp32 as in 16 bits.

Operands and result keep their 16 bits; what lies between is computed in fp32, as it is on a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "studio_sdpa"


def widen_attention(model: PreTrainedModel) -> None:
    """Let a model that uses torch's attention compute it in fp32 between 16-bit operands."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with torch.autocast(query.device.type, enabled=False):
        mask = attention_mask
        if mask is not None and mask.is_floating_point():
            mask = mask.float()
        result, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **options)
    return result.to(query.dtype), None
