"""Find the first module where a nan or an infinity appears, by repeating the micro-batch that failed under hooks.

And find out whether that module works in fp32, so that the range of 16 bits alone is to blame.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from studio.engine.data.batching import MicroBatch
from studio.engine.models.quantise import products_in_fp32
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.modules import own_name, visible_modules
from studio.engine.numerics.recorder import Recorder
from studio.engine.numerics.replay import Replay
from studio.engine.numerics.trace import Place, Trace, check_finite, own_parameters, tensors

# fp16 flushes all but the largest gradients at this scale, and none overflows.
TINY_SCALE = 2.0**-24

log = logging.getLogger(__name__)


def locate_first(replay: Replay, batch: MicroBatch, *, recorder: Recorder | None = None) -> FirstNonFinite | None:
    """Return where the first non-finite value of this micro-batch appears, or None where there is none.

    A weight that is not finite comes first, then the first module of the forward pass that turns finite inputs into
    an output that is not, then the loss, then the first module of the backward pass that turns a finite gradient by
    its output into one by its input or its weights that is not, then what is trained beside the modules. When it
    appears between modules (in a product of two outputs, in a sum), the module round it is named; an empty name is
    the loss itself. Backward, values are scaled as they are computed. `recorder` watches the replay as well, and
    can then be asked for its sample.

    An infinity in the weights or in the forward pass is passed over where it does no harm: the loss is finite, and so
    are the gradients as soon as the loss scale is small enough.

    The training state stays as it is: gradients, modes, random numbers. Dropout draws anew. For the moment the
    gradients of the trained parameters exist a second time.
    """
    damaged = _in_weights(replay.model, replay.base)
    beside = _trained_beside(replay.model, replay.base)
    trace = Trace(replay.base, replay.scale or 1.0, beside)
    gradients: list[Tensor | None] = []
    look = recorder.watching(replay.scale, lambda: gradients) if recorder else nullcontext()
    with trace.watching(), look:
        gradients += replay.run(batch, trace.see_loss)
    place = trace.first
    if place is not None and place.direction == "backward" and (damaged or trace.infinity):
        if dataclasses.replace(replay, scale=TINY_SCALE).has_finite_gradients(batch):
            damaged = None
        else:
            # It was multiplied by a zero in the backward pass, as at `where(mask, exp(x), 0)`: nan at every scale.
            place = trace.infinity or place
    if damaged is not None or place is None:
        return damaged
    exceeds = None
    if place.module not in beside.values():
        try:
            exceeds = exceeds_fp16(replay, batch, place)
        except Exception:  # the place is known without it, and a module of any making may refuse
            log.exception("%s could not be computed again in fp32", place.module)
    # The whole model has no name of its own but its class's.
    module = type(replay.base).__name__ if place.module == "" else place.module or ""
    return FirstNonFinite(module=module, direction=place.direction, largest_before=place.largest, exceeds_fp16=exceeds)


def _trained_beside(model: nn.Module, base: nn.Module) -> dict[nn.Parameter, str]:
    """The trained parameters of `model` that are none of `base`, with the names of their modules."""
    inside = set(base.parameters())
    return {
        parameter: own_name(name).rpartition(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter not in inside
    }


def _in_weights(model: nn.Module, base: nn.Module) -> FirstNonFinite | None:
    # The same names as for outputs and gradients: the module that a person sees, not the parameter inside it.
    owners: dict[int, str] = {}
    for name, module in visible_modules(base):
        for parameter in own_parameters(module):
            owners.setdefault(id(parameter), name)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            seen = check_finite(parameter)
            if not seen.finite:
                return FirstNonFinite(
                    module=owners.get(id(parameter), own_name(name).rpartition(".")[0]),
                    direction="weights",
                    largest_before=seen.largest,
                    # The model's files hold finite numbers alone: an infinity was made when it was stored in fp16.
                    exceeds_fp16=parameter.dtype == torch.float16 and not bool(torch.isnan(parameter).any()),
                )
    return None


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
