"""Cross-entropy over a large vocabulary that never holds all logits.

The plain function stores the logits of all positions, their fp32 copy, the log-probabilities and a gradient of each.
This one takes the positions in pieces. It computes the logits of a piece, their loss and their gradient, takes the
gradient back through the output layer at once, and then drops the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from studio.engine.fit import PIECE, in_fp32


def cross_entropy_sum(
    hidden: Tensor,
    targets: Tensor,
    logits_of: Callable[[Tensor], Tensor],
    trained: Sequence[Tensor] = (),
    weight: float = 1.0,
    *,
    vocabulary: int,
) -> Tensor:
    """Return the summed cross-entropy, fp32, scalar, in nats.

    Args:
        hidden: (positions, d), what the output layer reads.
        targets: (positions,), int64, the token that is to be the likeliest.
        logits_of: returns the logits (positions, vocabulary) of some rows of `hidden`; they are computed on in fp32.
        trained: the trained parameters that `logits_of` uses.
        weight: what the caller multiplies the sum by. The gradient is computed with it, before 16 bits round it.
        vocabulary: number of logits of a position.
    """
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (hidden, *trained))
    step = max(1, PIECE // vocabulary)
    total: Tensor = _CrossEntropySum.apply(hidden, targets, logits_of, weight, step, learns, *trained)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def cross_entropy_each(
    hidden: Tensor, targets: Tensor, logits_of: Callable[[Tensor], Tensor], *, vocabulary: int
) -> Tensor:
    """Return the cross-entropy of each position, fp32, (positions,), in nats; arguments as of `cross_entropy_sum`."""
    found = torch.empty(len(hidden), device=hidden.device)
    fine = max(1, in_fp32(hidden.device.type) // vocabulary)
    for piece in _pieces(len(hidden), max(1, PIECE // vocabulary)):
        logits = logits_of(hidden[piece])
        for part in _pieces(len(logits), fine):
            rows, wanted = logits[part].float(), targets[piece][part, None]
            found[piece][part] = rows.logsumexp(1) - rows.gather(1, wanted).squeeze(1)
    return found


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        logits_of: Callable[[Tensor], Tensor],
        weight: float,
        step: int,
        learns: bool,
        *trained: Tensor,
    ) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        gradients = [torch.zeros_like(tensor) for tensor in (hidden, *trained)] if learns else []
        for piece in _pieces(len(hidden), step):
            with torch.set_grad_enabled(learns):
                rows = hidden[piece].detach().requires_grad_(learns)
                logits = logits_of(rows)
            loss, of_logits = _loss_and_gradient(logits.detach(), targets[piece], weight, learns)
            total += loss
            if learns:
                found = torch.autograd.grad(logits, [rows, *trained], of_logits, allow_unused=True)
                for total_gradient, part in zip([gradients[0][piece], *gradients[1:]], found, strict=True):
                    if part is not None:
                        total_gradient += part
        ctx.save_for_backward(*gradients)
        ctx.weight = weight
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # The incoming gradient is `weight`, unless the caller did more with the sum. Times one changes no bit.
        ratio = gradient / ctx.weight
        of_hidden, *of_trained = (found * ratio for found in ctx.saved_tensors)
        return of_hidden, None, None, None, None, None, *of_trained


def _loss_and_gradient(logits: Tensor, targets: Tensor, weight: float, learns: bool) -> tuple[Tensor, Tensor | None]:
    """Return the summed loss of a piece, and `weight` times its gradient by the logits, in their format."""
    total = torch.zeros((), device=logits.device)
    result = torch.empty_like(logits) if learns else None
    for part in _pieces(len(logits), max(1, in_fp32(logits.device.type) // logits.shape[1])):
        rows, wanted = logits[part].to(torch.float32, copy=True), targets[part, None]
        normaliser = rows.logsumexp(1, keepdim=True)
        total += (normaliser - rows.gather(1, wanted)).sum()
        if result is not None:
            # softmax - one-hot. The weight carries the loss scale, and comes in before 16 bits round.
            rows.sub_(normaliser).exp_().scatter_add_(1, wanted, torch.full_like(normaliser, -1.0))
            result[part] = rows.mul_(weight)
    return total, result


def _pieces(count: int, step: int) -> Iterator[slice]:
    return (slice(begin, begin + step) for begin in range(0, count, step))
