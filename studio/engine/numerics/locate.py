"""Find the first module where a nan or an infinity appears, by repeating the micro-batch that failed under hooks."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from studio.engine.data.batching import MicroBatch
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.modules import own_name, visible_modules
from studio.engine.numerics.recompute_fp32 import exceeds_fp16
from studio.engine.numerics.recorder import Recorder
from studio.engine.numerics.replay import Replay
from studio.engine.numerics.trace import Place, Trace, check_finite, own_parameters

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
    return FirstNonFinite(
        module=_shown(place.module, replay.base),
        direction=place.direction,
        largest_before=place.largest,
        exceeds_fp16=None if place.module in beside.values() else _in_fp32(replay, batch, place),
    )


def _in_fp32(replay: Replay, batch: MicroBatch, place: Place) -> bool | None:
    """Try the module once more in fp32; the place is known without it, and a module of any making may refuse."""
    try:
        return exceeds_fp16(replay, batch, place)
    except Exception:
        log.exception("%s could not be computed again in fp32", place.module)
        return None


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
                    exceeds_fp16=_too_large(parameter),
                )
    return None


def _too_large(parameter: Tensor) -> bool:
    """Whether a weight is infinite for being stored in fp16: the model's files hold finite numbers alone."""
    return parameter.dtype == torch.float16 and not bool(torch.isnan(parameter).any())


def _shown(name: str | None, base: nn.Module) -> str:
    """The whole model has no name of its own but its class's."""
    return type(base).__name__ if name == "" else name or ""
