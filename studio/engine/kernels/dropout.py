"""Dropout (Srivastava et al. 2014) that costs little beside the products it precedes."""

from __future__ import annotations

import torch
from torch import Tensor

# 16 bits are fine enough for a rate, and one draw of the generator has four times 16 bits.
_STEPS = 1 << 16


def keep_mask(like: Tensor, rate: float) -> Tensor:
    """Return all bits set where an entry is kept and none where it is dropped, int16, in the shape of `like`.

    `rate` is the share that is dropped, rounded to 1/65536. The draws are from torch's global generator.
    """
    if like.device.type != "cpu":
        return (torch.rand(like.shape, device=like.device) >= rate).to(torch.int16).neg_()
    # Drawing one number an entry, as bernoulli_ does, takes a fifth of the time of a training step.
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return draws[: like.numel()].ge_(round(rate * _STEPS) - _STEPS // 2).neg_().view(like.shape)


def drop(values: Tensor, keep: Tensor | None) -> Tensor:
    """Return the values with 0 where they are not kept; they are not scaled."""
    if keep is None:
        return values
    if values.element_size() == 2:  # eight times as fast as choosing by a condition
        return (values.view(torch.int16) & keep).view(values.dtype)
    return torch.where(keep.bool(), values, values.new_zeros(()))
