"""Kernels that a GPU starts fewer of, used only after they have agreed with the plain ones on this machine.

Which kernels a GPU can run, and how well, depends on its driver and its libraries. So every set of them goes forward
and backward with a few tokens first, and its loss and gradients are compared with those of the plain model.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.engine.autocast import autocast
from studio.engine.data.batching import collate
from studio.engine.data.rows import IGNORED, TokenizedRow
from studio.engine.kernels.liger import use_liger
from studio.engine.kernels.norm import fuse_norms
from studio.engine.kernels.rotary import replace_rotary, turn_together
from studio.engine.precision import Precision
from studio.engine.training.model import TrainableModel
from studio.events import KernelsChosen

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

TOKENS = 64
# What the loss and the gradient may differ by, as shares of the plain ones: in fp32, and where products are in 16 bits.
# Two correct kernels differ by the order of their sums; a wrong one differs by its own size.
TOLERANCE, TOLERANCE_16 = (1e-4, 1e-3), (1e-2, 5e-2)
# Gradients of so many numbers are compared, at least those of one weight.
_COMPARED = 1 << 22
# fp16 loses the small gradients of an unscaled loss.
_SCALE = 1024.0


@dataclass(frozen=True)
class _Pass:
    loss: Tensor
    gradients: list[Tensor]


def _use_torch(base: PreTrainedModel) -> bool:
    """Let a model compute its norms and rotations in fewer operations of torch."""
    fuse_norms(base)
    replace_rotary(base, turn_together)
    return True


# The quickest first. Each changes a model, and returns whether it has anything for it.
KERNELS: dict[str, Callable[[PreTrainedModel], bool]] = {"liger": use_liger, "torch": _use_torch}


def choose_kernels(model: TrainableModel, precision: Precision, tokens: list[int]) -> KernelsChosen:
    """Let a model compute with the first kernels that agree with the plain ones; without any, leave it as it is.

    No weight, gradient or random number of the run changes. `tokens` of a row are what the kernels are tried with.
    """
    plain = _go(model, precision, tokens)
    tried: list[dict[str, Any]] = []
    for name, use in KERNELS.items():
        outcome = _try(model, precision, tokens, use, plain)
        tried.append({"kernels": name, **outcome})
        log.info("Kernels of %s: %s", name, outcome)
        if outcome["outcome"] == "agreed":
            return KernelsChosen(kernels=name, tried=tried)
    return KernelsChosen(kernels="plain", tried=tried)


def _try(
    model: TrainableModel,
    precision: Precision,
    tokens: list[int],
    use: Callable[[PreTrainedModel], bool],
    plain: _Pass,
) -> dict[str, Any]:
    """Return what came of some kernels; the model keeps them if they agree."""
    with _kept_if(model.base) as keep:
        try:
            if not use(model.base):
                return {"outcome": "not_for_this_model"}
            found = _go(model, precision, tokens)
        except ImportError:
            return {"outcome": "not_installed"}
        except Exception as error:  # kernels are compiled when they first run, and each compiler raises what it likes
            log.warning("Kernels failed", exc_info=error)
            return {"outcome": "failed"}
        apart = _apart([plain.loss], [found.loss]), _apart(plain.gradients, found.gradients)
        limits = TOLERANCE_16 if precision.autocast or precision.pure else TOLERANCE
        agreed = all(distance <= limit for distance, limit in zip(apart, limits, strict=True))
        if agreed:
            keep()
        return {"outcome": "agreed" if agreed else "disagreed", "loss": apart[0], "gradient": apart[1]}


@contextmanager
def _kept_if(base: PreTrainedModel) -> Iterator[Callable[[], None]]:
    """Undo all changes of a model's modules at the end, unless what is yielded was called."""
    before = [(module.__dict__, dict(module.__dict__)) for module in base.modules()]
    kept: list[bool] = []
    try:
        yield lambda: kept.append(True)
    finally:
        if not kept:
            for now, then in before:
                now.clear()
                now.update(then)


def _go(model: TrainableModel, precision: Precision, tokens: list[int]) -> _Pass:
    """Go forward and backward with a row; return the loss and the gradients of the weights nearest to the input."""
    first, size = [], 0
    for parameter in model.parameters:
        if size >= _COMPARED:
            break
        first.append(parameter)
        size += parameter.numel()
    device = first[0].device
    ids = tokens[:TOKENS]
    batch = collate([_row(ids), _row(ids[: max(2, len(ids) // 2)])], 0).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        with autocast(precision, device):
            loss = model.loss(batch, _SCALE / batch.supervised) / batch.supervised
        gradients = torch.autograd.grad(loss * _SCALE, first, allow_unused=True)
    return _Pass(loss.detach(), [gradient for gradient in gradients if gradient is not None])


def _row(ids: list[int]) -> Any:
    return TokenizedRow(ids, [IGNORED, *ids[1:]], "", 0)  # type: ignore[arg-type]


def _apart(plain: list[Tensor], other: list[Tensor]) -> float:
    """Return the distance between two lists of tensors, as a share of the length of the first one."""
    if len(plain) != len(other):
        return math.inf
    difference = torch.nn.utils.get_total_norm([a.float() - b.float() for a, b in zip(plain, other, strict=True)])
    return float(difference / torch.nn.utils.get_total_norm([a.float() for a in plain]).clamp_min(1e-30))
