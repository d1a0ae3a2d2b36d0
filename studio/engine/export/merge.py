"""The last step of a merge: one rounding to the save format, and what it costs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Entries worked on at a time: bounds the temporary copies, whatever the size of a weight.
_CHUNK = 2**22


@dataclass(frozen=True, kw_only=True)
class DeltaLoss:
    """What rounding does to the change that training made.

    Attributes:
        relative_error: ‖rounded change − change‖ / ‖change‖, over all weights; 0 is exact, and above 1 the rounding
            moves the weights further than training did.
        unchanged: share of the weights changed by training that are the base's own again once both are rounded.
    """

    relative_error: float
    unchanged: float


NOTHING_LOST = DeltaLoss(relative_error=0.0, unchanged=0.0)


def copy_weights(model: nn.Module, stored: torch.dtype) -> dict[str, Tensor]:
    """Return a copy of all weights, in the format they are stored in where that is exact."""
    return {name: _compact(parameter.detach(), stored) for name, parameter in model.named_parameters()}


def _compact(weight: Tensor, stored: torch.dtype) -> Tensor:
    """Return a copy of a weight in `stored`, or in its own format where `stored` would round it."""
    small = weight.to(stored, copy=True)
    return (small if torch.equal(small.to(weight.dtype), weight) else weight.clone()).contiguous()


@torch.no_grad()
def round_weights(model: nn.Module, before: dict[str, Tensor], dtype: torch.dtype) -> DeltaLoss:
    """Round fp32 weights to `dtype` in place, keeping them fp32, and return what that did to the change.

    Later casting to `dtype` is then exact, so the outputs of the rounded model can be had in fp32 arithmetic before
    anything is written. `before` holds the base's weights by name; it is emptied on the way. Rows that the base does
    not have count as changed from zero; a weight that it does not have at all (an output that was tied) does not count.
    """
    error = change = 0.0
    moved = unmoved = 0
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.contiguous()  # so that the parts below are views of it
        old_weight = _as_long(before.pop(name, parameter.data), parameter)
        parts = (torch.split(flat, _CHUNK) for flat in (parameter.data.view(-1), old_weight.view(-1)))
        for new, old in zip(*parts, strict=True):
            rounded, start = new.to(dtype).float(), old.float()
            # delta: what training changed. kept: what is left of it once base and result are both rounded.
            delta, kept = (new - start).double(), rounded - start.to(dtype).float()
            error += float((kept.double() - delta).square().sum())
            change += float(delta.square().sum())
            moved += int((delta != 0).sum())
            unmoved += int(((delta != 0) & (kept == 0)).sum())
            new.copy_(rounded)
    if not change:
        return NOTHING_LOST
    return DeltaLoss(relative_error=math.sqrt(error / change), unchanged=unmoved / moved)


def _as_long(before: Tensor, now: Tensor) -> Tensor:
    """Return `before` with rows of zeros appended until it has as many rows as `now`."""
    missing = len(now) - len(before)
    return torch.cat([before, before.new_zeros(missing, *before.shape[1:])]) if missing else before


def release(model: nn.Module) -> None:
    """Give the memory of a model's weights back at once.

    Its modules may refer to each other in circles, and the collector that finds those must not be called here: run on
    a worker's thread, it would also take Qt objects of the window.
    """
    for parameter in model.parameters():
        parameter.data = torch.empty(0)


def fingerprint_weights(model: nn.Module) -> dict[str, str]:
    """Return a SHA-256 of format, shape and bytes of each weight, by name."""
    return {name: _fingerprint(tensor) for name, tensor in model.state_dict().items()}


def _fingerprint(tensor: Tensor) -> str:
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    body = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(head + body.tobytes()).hexdigest()


def count_non_finite(tensors: Iterable[Tensor]) -> int:
    """Return how many numbers in tensors of any shape and format are NaN or infinite."""
    return sum(int((~torch.isfinite(tensor)).sum()) for tensor in tensors if tensor.is_floating_point())
