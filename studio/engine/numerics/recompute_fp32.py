"""Whether a module that failed works in fp32, so that the range of 16 bits alone is to blame."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from studio.engine.data.batching import MicroBatch
from studio.engine.models.quantise import products_in_fp32
from studio.engine.numerics.replay import Replay
from studio.engine.numerics.trace import Place, tensors


def exceeds_fp16(replay: Replay, batch: MicroBatch, place: Place) -> bool | None:
    """Compute the module at `place` once more, alone, in fp32, on what it was given when the batch is repeated.

    What enters it is still what 16 bits made of it; so a result that is finite now was too large for 16 bits here, and
    nowhere before.

    Returns:
        Whether the result (the output, or backward the gradients by inputs and weights) is finite then; None where
        no single module is to blame, or only the whole network.
    """
    if place.module is None:
        return None
    module = replay.base.get_submodule(place.module)
    if any(isinstance(inner, nn.ModuleList) for inner in module.modules()):
        return None  # an fp32 copy of everything is too much to ask
    call = _ModuleCall(module)
    try:
        replay.run(batch)
    finally:
        call.close()
    results = call.outputs() if place.direction == "forward" else call.gradients()
    return all(bool(torch.isfinite(result).all()) for result in results)


class _ModuleCall:
    """Keeps what a module is called with and the gradient by its output, to compute it again in fp32."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        self._gradient: Tensor | None = None
        self._handles = [
            module.register_forward_pre_hook(self._called, with_kwargs=True),
            # Before any hook that was there, which may be the very thing that breaks the gradient.
            module.register_forward_hook(self._returned, prepend=True),
        ]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def outputs(self) -> list[Tensor]:
        """Return the tensors of the output, fp32."""
        with torch.no_grad():
            return tensors(self._compute(self._wide_weights()))

    def gradients(self) -> list[Tensor]:
        """Return the gradients by the inputs and the weights, fp32, from the gradient by the output as it was.

        Gradients are scaled as they were in the step: the loss scale is part of what was too large.
        """
        weights = {name: weight.requires_grad_() for name, weight in self._wide_weights().items()}
        inputs = tensors((*self._args, *self._kwargs.values()))
        for tensor in inputs:
            tensor.requires_grad_()
        output = tensors(self._compute(weights))[:1]
        if self._gradient is None or not output:
            return []
        wanted = [*inputs, *weights.values()]
        found = torch.autograd.grad(output, wanted, [self._gradient], allow_unused=True)
        return [gradient for gradient in found if gradient is not None]

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Copied before the module runs, because it appends to a cache that it is call.
        self._args, self._kwargs = _wide(args), _wide(kwargs)

    def _returned(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        for tensor in tensors(output)[:1]:
            if tensor.requires_grad:
                tensor.register_hook(self._met)

    def _met(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach().float()

    def _wide_weights(self) -> dict[str, Tensor]:
        named = (*self._module.named_parameters(), *self._module.named_buffers())
        return {name: _wide(tensor) for name, tensor in named if tensor.is_floating_point()}

    def _compute(self, weights: dict[str, Tensor]) -> Any:
        given = tensors((*self._args, *self._kwargs.values()))
        device = given[0].device.type if given else "cpu"
        # A random state of its own, so that dropout does not change what the training draws next.
        with torch.autocast(device, enabled=False), products_in_fp32(self._module), torch.random.fork_rng(devices=[]):
            return functional_call(self._module, weights, self._args, self._kwargs)


def _wide(value: Any) -> Any:
    """Return `value` with fp32 copies of its floating-point tensors, cut off from the graph, those of a cache too."""
    if isinstance(value, Tensor):
        return value.detach().to(torch.float32, copy=True) if value.is_floating_point() else value
    if _is_cache(value):
        copied = copy.copy(value)
        vars(copied).update(_wide(vars(value)))
        return copied
    if isinstance(value, dict):
        return {key: _wide(inner) for key, inner in value.items()}
    return type(value)(_wide(inner) for inner in value) if type(value) in (tuple, list) else value


def _is_cache(value: Any) -> bool:
    """Keys and values of earlier positions, as prefix tuning gives them, or one layer's part of them."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    return isinstance(value, Cache | CacheLayerMixin)
