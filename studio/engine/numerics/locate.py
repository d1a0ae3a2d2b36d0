"""Find the first module where a nan or an infinity appears, by repeating the micro-batch that failed under hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from studio.engine.numerics.in_fp32 import exceeds_fp16
from studio.engine.numerics.modules import own_name
from studio.engine.numerics.trace import Place, Trace, look_at
from studio.engine.numerics.verdicts import FirstNonFinite

if TYPE_CHECKING:
    from studio.engine.data.batching import MicroBatch
    from studio.engine.numerics.recorder import Recorder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What it takes to repeat the forward and backward pass of a micro-batch.

    Attributes:
        model: what is trained; `base`, the transformers model inside it, gives the names.
        loss: summed loss of a micro-batch, as `SupervisedLoss` computes it.
        autocast: makes the context in which the forward pass computes.
        scale: the loss scale of the step that failed, None without.
        supervised: supervised tokens of the whole update, by which the loss is divided.
    """

    model: nn.Module
    base: nn.Module
    loss: Callable[[MicroBatch], Tensor]
    autocast: Callable[[], AbstractContextManager[object]]
    scale: float | None
    supervised: int

    def run(self, batch: MicroBatch, see: Callable[[Tensor], None] | None = None) -> tuple[Tensor | None, ...]:
        """Go forward, let `see` look at the loss, go backward, and return the gradients of what is trained, scaled.

        No `.grad` and no random state is touched.
        """
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gpus = [trained[0].device] if trained[0].is_cuda else []
        with torch.random.fork_rng(devices=gpus):
            with self.autocast():
                loss = self.loss(batch) / self.supervised
            if see is not None:
                see(loss.detach())
            return torch.autograd.grad(loss * (self.scale or 1.0), trained, allow_unused=True)

    def is_finite(self, batch: MicroBatch) -> bool:
        """Go forward alone, and return whether the loss is finite."""
        gpus = [batch.input_ids.device] if batch.input_ids.is_cuda else []
        with torch.random.fork_rng(devices=gpus), torch.no_grad(), self.autocast():
            return bool(torch.isfinite(self.loss(batch)))


def locate_first(
    repetition: Repetition, batch: MicroBatch, *, recorder: Recorder | None = None
) -> FirstNonFinite | None:
    """Return where the first non-finite value of this micro-batch appears, or None where there is none.

    A weight that is not finite comes first, then the first module of the forward pass that turns finite inputs into
    an output that is not, then the loss, then the first module of the backward pass that turns a finite gradient by
    its output into one by its input or its weights that is not, then what is trained beside the modules. When it
    appears between modules (in a product of two outputs, in a sum), the module round it is named; an empty name is
    the loss itself. Backward, values are scaled as they are computed. `recorder` watches the repetition as well, and
    can then be asked for its sample.

    The training state stays as it is: gradients, modes, random numbers. Dropout draws anew. For the moment the
    gradients of the trained parameters exist a second time.
    """
    damaged = _in_weights(repetition.model)
    beside = _trained_beside(repetition.model, repetition.base)
    trace = Trace(repetition.base, repetition.scale or 1.0, beside)
    if damaged is None or recorder is not None:
        gradients: list[Tensor | None] = []
        look = recorder.watching(repetition.scale, lambda: gradients) if recorder else nullcontext()
        with trace.watching(), look:
            gradients += repetition.run(batch, trace.see_loss)
    place = trace.first
    if damaged is not None or place is None:
        return damaged
    return FirstNonFinite(
        module=_shown(place.module, repetition.base),
        direction=place.direction,
        largest_before=place.largest,
        exceeds_fp16=None if place.module in beside.values() else _in_fp32(repetition, batch, place),
    )


def _in_fp32(repetition: Repetition, batch: MicroBatch, place: Place) -> bool | None:
    """Try the module once more in fp32; the place is known without it, and a module of any making may refuse."""
    try:
        return exceeds_fp16(repetition, batch, place)
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


def _in_weights(model: nn.Module) -> FirstNonFinite | None:
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            seen = look_at(parameter)
            if not seen.finite:
                return FirstNonFinite(
                    module=own_name(name),
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
