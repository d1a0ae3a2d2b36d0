"""RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) as one operation of torch, where transformers writes it as six.

A GPU computes it in one kernel forward and one backward. Of a small model, starting kernels takes most of the time.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Gain: TypeAlias = Callable[[Tensor], Tensor]


def fuse_norms(base: nn.Module) -> None:
    """Give every norm of a model the operation of torch, where that computes the same."""
    for module in base.modules():
        if type(module).__name__.endswith("RMSNorm") and (gain := _gain_of(module)):
            module.forward = types.MethodType(functools.partial(_forward, gain), module)


def _forward(gain: Gain, norm: Any, x: Tensor) -> Tensor:
    if x.dtype is not norm.weight.dtype:  # classes differ in where they round
        plain: Tensor = type(norm).forward(norm, x)
        return plain
    return F.rms_norm(x, norm.weight.shape, gain(norm.weight), _epsilon(norm))


@torch.no_grad()
def _gain_of(norm: Any) -> Gain | None:
    """Return what makes the factor of its weight (d,): itself, or 1 + itself as in Gemma; None for another formula."""
    weight, epsilon = getattr(norm, "weight", None), _epsilon(norm)
    if not isinstance(weight, Tensor) or weight.dim() != 1 or epsilon is None:
        return None
    # Numbers near the square root of epsilon: the place where it is added shows.
    x = torch.linspace(-1.0, 2.0, 4 * len(weight), device=weight.device).view(4, -1).mul_(epsilon**0.5)
    x = x.to(weight.dtype)
    try:
        expected = norm(x)
    except TypeError:  # takes more than its input, as gated norms do
        return None
    near = 1e-5 if weight.dtype is torch.float32 else 2e-2
    gains: tuple[Gain, ...] = (lambda w: w, lambda w: 1.0 + w)
    for gain in gains:
        found = F.rms_norm(x, weight.shape, gain(weight), epsilon)
        if bool((found - expected).abs().max() <= near * expected.abs().max()):
            return gain
    return None


def _epsilon(norm: Any) -> float | None:
    return getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
