"""Cross-entropy over a large vocabulary without fp32 copies of all logits.

The plain function stores the logits, their fp32 copy, the log-probabilities and a gradient of each; this one keeps
the logits and one number a row, and goes through the rows in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_ENTRIES = 1 << 21  # of fp32 in work at a time: 8 MB


def cross_entropy_sum(logits: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """Return the summed cross-entropy, fp32, scalar, in nats.

    Args:
        logits: (…, vocabulary), any format; computed on in fp32.
        targets: (…), int64, the likeliest token to be, or `ignored`.
    """
    total: Tensor = _CrossEntropySum.apply(logits, targets, ignored)  # type: ignore[no-untyped-call]
    return total


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, ignored: int) -> Tensor:
        flat, wanted = logits.flatten(0, -2), targets.flatten()
        places = (wanted != ignored).nonzero().squeeze(1)
        wanted = wanted[places]
        normaliser = torch.empty(len(places), device=logits.device)
        total = torch.zeros((), device=logits.device)
        for piece in _pieces(places, flat.shape[1]):
            rows = flat[places[piece]].float()
            normaliser[piece] = rows.logsumexp(1)
            total += (normaliser[piece] - rows.gather(1, wanted[piece, None]).squeeze(1)).sum()
        ctx.save_for_backward(logits, places, wanted, normaliser)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, places, wanted, normaliser = ctx.saved_tensors
        flat = logits.flatten(0, -2)
        result = torch.zeros_like(flat)
        for piece in _pieces(places, flat.shape[1]):
            # softmax - one-hot, times the incoming gradient, which carries the loss scale, before it is rounded
            rows = flat[places[piece]].float().sub_(normaliser[piece, None]).exp_()
            rows.scatter_add_(1, wanted[piece, None], rows.new_full((len(rows), 1), -1.0))
            result[places[piece]] = rows.mul_(gradient).to(result.dtype)
        return result.view_as(logits), None, None


def _pieces(places: Tensor, vocabulary: int) -> Iterator[slice]:
    step = max(1, _ENTRIES // vocabulary)
    return (slice(begin, begin + step) for begin in range(0, len(places), step))
