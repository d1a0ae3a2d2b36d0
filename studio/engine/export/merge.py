"""The last step of a merge: one rounding to the save format, and what it costs."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from studio.engine.export.stored import empty_model
from studio.engine.models.fill import all_finite

# Entries worked on at a time: the temporary copies stay in the processor's cache, whatever the size of a weight.
_CHUNK = 2**18


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
def round_weights(model: nn.Module, before: dict[str, Tensor], formats: dict[str, torch.dtype]) -> DeltaLoss:
    """Round fp32 weights to their `formats` in place, keeping them fp32, and return what that did to the change.

    Later casting is then exact, so the outputs of the rounded model can be had in fp32 arithmetic before anything is
    written. `before` holds the base's weights by name; it is emptied on the way. A weight that it does not have at all
    (an output that was tied) does not count. Where every format is fp32 it is not looked at: nothing is rounded.
    """
    change = Change()
    rounds = any(dtype != torch.float32 for dtype in formats.values())
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.contiguous()  # so that parts of it are views
        if rounds:
            change.round(parameter.data, before.pop(name, parameter.data), formats[name])
    return change.loss


class Change:
    """The change of weights that training made, and what rounding leaves of it, added up over weights."""

    def __init__(self) -> None:
        self._error = self._change = 0.0
        self._moved = self._unmoved = 0

    @torch.no_grad()
    def round(self, weight: Tensor, before: Tensor, dtype: torch.dtype) -> None:
        """Round a contiguous fp32 weight to `dtype` in place. Rows that `before` lacks count as changed from zero."""
        parts = (torch.split(flat, _CHUNK) for flat in (weight.view(-1), _as_long(before, weight).reshape(-1)))
        for new, old in zip(*parts, strict=True):
            rounded, start = new.to(dtype).float(), old.float()
            # delta: what training changed. kept: what is left of it once base and result are both rounded.
            delta = new - start
            kept = rounded - (start if old.dtype == dtype else start.to(dtype).float())
            error = kept - delta
            self._error += float(error @ error)
            self._change += float(delta @ delta)
            self._moved += int(torch.count_nonzero(delta))
            self._unmoved += int(torch.count_nonzero(delta.masked_fill(kept != 0, 0)))
            new.copy_(rounded)

    @property
    def loss(self) -> DeltaLoss:
        """What rounding did to the change."""
        if not self._change:
            return NOTHING_LOST
        error = math.sqrt(self._error / self._change)
        return DeltaLoss(relative_error=error, unchanged=self._unmoved / self._moved)


def save_formats(model: Any, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return the format of each weight and persistent buffer of a transformers model that is saved in `dtype`.

    It is the one in which transformers opens it again: some weights stay in fp32 (those that choose among experts, for
    example), and so do buffers that the model makes in fp32.
    """
    from transformers.core_model_loading import build_glob_alternation

    if dtype == torch.float32:
        return {name: tensor.dtype for name, tensor in model.state_dict().items()}  # it is held so
    formats = {name: tensor.dtype for name, tensor in empty_model(model.config, dtype).state_dict().items()}
    plan = model._get_dtype_plan(dtype)
    if plan:
        planned, by_group, _ = build_glob_alternation(list(plan))
        for name in formats:
            if (found := planned.search(name)) and formats[name].is_floating_point:
                formats[name] = plan[by_group[str(found.lastgroup)]]
    return formats


def cast(model: nn.Module, formats: dict[str, torch.dtype]) -> None:
    """Convert weights and persistent buffers, in place."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = tensor.data.to(formats[name])


def _as_long(before: Tensor, now: Tensor) -> Tensor:
    """Return `before` with rows of zeros appended until it has as many rows as `now`."""
    missing = len(now) - len(before)
    return torch.cat([before, before.new_zeros(missing, *before.shape[1:])]) if missing else before


@contextmanager
def no_collections() -> Iterator[None]:
    """Let Python not look for objects that refer to each other in circles.

    Each time, it would look through all that the libraries have made: a seventh of the time of an export of SmolLM2.
    What lies in such circles and is large is given back by `release`.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def release(model: nn.Module) -> None:
    """Give the memory of a model's weights back at once.

    Its modules may refer to each other in circles, and the collector that finds those must not be called here: run on
    a worker's thread, it would also take Qt objects of the window.
    """
    for parameter in model.parameters():
        parameter.data = torch.empty(0)


def fingerprint_weights(model: nn.Module) -> dict[str, str]:
    """Return a hash of format, shape and bytes of each weight, by name; see `fingerprint_weight`."""
    state = model.state_dict()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # hashing large buffers frees the interpreter
        return dict(zip(state, pool.map(fingerprint_weight, state.values()), strict=True))


def fingerprint_weight(tensor: Tensor) -> str:
    """Return a hash of format, shape and bytes: XXH3, 128 bits.

    Both sides are hashed by this process, so that nobody can choose the bytes of one after the hash of the other, and a
    cryptographic hash, which takes ten times as long, would find no more. Files keep their SHA-256.
    """
    digest = xxhash.xxh3_128(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    data: Any = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest.update(data)
    return digest.hexdigest()


def count_non_finite(tensors: Iterable[Tensor]) -> int:
    """Return how many numbers in tensors of any shape and format are NaN or infinite."""
    return sum(
        int((~torch.isfinite(chunk)).sum())
        for tensor in tensors
        if not all_finite(tensor)
        for chunk in tensor.flatten().split(_CHUNK)
    )
