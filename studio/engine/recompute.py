"""Activations are computed again in the backward pass instead of being kept (Chen et al. 2016, arXiv 1604.06174).

Each block of the model keeps its inputs alone. When the backward pass reaches a block, the block is computed once more,
with the same random numbers and in the same precision, so that losses and gradients are the same bit for bit. That
costs one more forward pass, and leaves the activations of a single block in memory at a time.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from studio.engine.autocast import half_products

_again = False


def recomputing() -> bool:
    """Return whether a block is being computed once more. Hooks that count what they see return at once then."""
    return _again


class Recomputation:
    """Lets the blocks of a model compute their activations again.

    Attributes:
        on: whether they do. It may change between two passes, never between a forward pass and its backward pass.
        on_host: whether the inputs of the blocks wait in the memory of the processor until then.
    """

    def __init__(self, base: nn.Module, *, on: bool, on_host: bool = False) -> None:
        self.on = on
        self.on_host = on_host
        for block in blocks_of(base):
            block.forward = functools.partial(self._run, block.forward)

    def _run(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self.on or not torch.is_grad_enabled():
            return forward(*args, **kwargs)

        # Nothing below may hold on to the arguments themselves, or they would not leave the device.
        count, names = len(args), tuple(kwargs)

        def run(*values: Any) -> Any:
            # A block appends to the cache that it is given (prefix tuning). Each time it must begin with the same one.
            fresh = [_fresh(value) for value in values]
            return forward(*fresh[:count], **dict(zip(names, fresh[count:], strict=True)))

        with saved_tensors_hooks(_to_host, _from_host) if self.on_host else nullcontext():
            return checkpoint(run, *args, *kwargs.values(), use_reentrant=False, context_fn=_contexts)


def blocks_of(base: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a model: the members of its outermost lists of modules."""
    for child in base.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks_of(child)


def _to_host(tensor: Tensor) -> tuple[Tensor, torch.device | None]:
    """Copy what enters a block to the processor's memory; what all blocks share, as masks, stays where it is."""
    if not tensor.requires_grad:
        return tensor, None
    host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
    return host.copy_(tensor.detach(), non_blocking=True), tensor.device


def _from_host(packed: tuple[Tensor, torch.device | None]) -> Tensor:
    tensor, device = packed
    return tensor if device is None else tensor.to(device, non_blocking=True)


def _contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    """Return what the first pass runs in, and what the second one does: as the first, and marked as a repetition."""
    return nullcontext(), _repetition(half_products())


@contextmanager
def _repetition(products: AbstractContextManager[object]) -> Iterator[None]:
    global _again
    _again = True
    try:
        with products:
            yield
    finally:
        _again = False


def _fresh(value: Any) -> Any:
    """Return a copy of a key-value cache, which shares its tensors; anything else as it is."""
    from transformers.cache_utils import Cache

    if not isinstance(value, Cache):
        return value
    copied = copy.copy(value)
    copied.layers = [copy.copy(layer) for layer in value.layers]
    return copied
