"""Recording: what the numbers inside the model are like, looked at now and then (events `NumericsSampled`).

A sample hooks the modules for the forward and backward pass of one micro-batch. Everything is counted where the
numbers are, and read in one synchronisation at the end of the step; between two samples no hook is installed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from studio.config.numerics import NumericsConfig
from studio.engine.autocast import autocast
from studio.engine.dtypes import torch_dtype
from studio.engine.numerics.gpu_tally import GpuTallies
from studio.engine.numerics.modules import in_forward_order, watched_modules
from studio.engine.numerics.statistics import CpuTallies, Scale, Tally, together
from studio.engine.precision import Precision
from studio.engine.recompute import recomputing
from studio.events import NumericsSampled, NumericsStarted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Gradients: TypeAlias = Callable[[], Sequence[Tensor | None]]
# After so many samples the cadence halves, so that a journal grows with the logarithm of a run's length.
SAMPLES_PER_CADENCE = 512


class Recorder:
    """Takes samples of one run's numerics.

    Attributes:
        every: steps between two samples at present.
    """

    def __init__(
        self,
        model: nn.Module,
        base: PreTrainedModel,
        parameters: Sequence[nn.Parameter],
        precision: Precision,
        config: NumericsConfig,
    ) -> None:
        """Run `model` once over two tokens, without gradients, to learn the order of the modules of `base`.

        Args:
            model: what is trained; `base` is the transformers model inside it.
            parameters: the trained ones, whose gradients are counted.
        """
        self._parameters = parameters
        # Autocast computes the gradients of linear layers' weights in 16 bits, and all others in fp32. Only what is
        # computed in 16 bits can be flushed or overflow there.
        linear = _linear_layers(model)
        products = {parameter for layer in linear for parameter in layer.parameters(recurse=False)}
        self._by_products = any(parameter in products for parameter in parameters)
        self._counted = [not self._by_products or parameter in products for parameter in parameters]
        self._config = config
        self.every = config.every
        self._collected = 0
        self._compute = precision.autocast or precision.parameters
        self._device = parameters[0].device
        self._modules = in_forward_order(watched_modules(base), lambda: self._two_tokens(model, precision))
        # Trained linear layers without a row: inside what peft puts round a layer, or before the model.
        rows = list(self._modules.values())
        self._inner = [
            layer for layer in linear if layer not in rows and any(p.requires_grad for p in layer.parameters())
        ]
        self._output = base.get_output_embeddings()
        self._counts: _HookedCounts | None = None

    def started(self) -> NumericsStarted:
        """Return the event that names the rows of all samples."""
        return NumericsStarted(modules=list(self._modules), compute=self._compute, every=self._config.every)

    def to_json(self) -> dict[str, Any]:
        """Return for a checkpoint where the cadence stands."""
        return {"every": self.every, "collected": self._collected}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned."""
        self.every, self._collected = kept["every"], kept["collected"]

    def wants(self, step: int) -> bool:
        """Return whether the attempted step with this number, counted from 1, is to be looked at."""
        return self._config.record and (step - 1) % self.every == 0

    @contextmanager
    def watching(self, scale: float | None, gradients: Gradients | None = None) -> Iterator[None]:
        """Look at the one micro-batch whose forward and backward pass, at this loss scale, is within.

        `gradients` returns those of the trained parameters when the pass is over, in their order and still scaled;
        without it they are taken from the parameters, which must not hold those of other micro-batches.
        """
        counts = self._new_counts(list(self._modules.values()), scale, self._inner)
        try:
            yield
        finally:
            counts.close()
        found = gradients() if gradients else [parameter.grad for parameter in self._parameters]
        pairs = zip(found, self._counted, strict=True)
        counts.add_parameters([gradient for gradient, counted in pairs if counted and gradient is not None])
        self._counts = counts

    def sample(self, step: int, scale: float | None, because: str) -> NumericsSampled:
        """Return what was seen since the last sample.

        This waits for the device, once. Largest values and shares are rounded to five digits, which is what keeps a
        journal small.
        """
        counts = self._counts or self._new_counts([], scale)
        self._counts = None
        self._collected += 1
        if self._collected % SAMPLES_PER_CADENCE == 0:
            self.every *= 2
        sample = counts.read(step, scale, because, torch_dtype(self._compute), of_weights=self._by_products)
        return dataclasses.replace(sample, every=self.every)

    def _new_counts(
        self, modules: list[nn.Module], scale: float | None, inner: Sequence[nn.Module] = ()
    ) -> _HookedCounts:
        # Most words of the vocabulary are so improbable that nothing is lost with the gradients of their logits.
        hidden = {row for row, module in enumerate(modules) if module is not self._output}
        return _HookedCounts(modules, inner, hidden, Scale(scale or 1.0), self._device)

    def _two_tokens(self, model: nn.Module, precision: Precision) -> None:
        ids = torch.zeros((1, 2), dtype=torch.int64, device=self._device)
        on_gpu = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=on_gpu), autocast(precision, self._device):  # dropout draws
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


class _HookedCounts:
    """The counts of one micro-batch: activations and gradients of each row, then those of what has no row of its own
    (`inner`), and the parameters' gradients.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        inner: Sequence[nn.Module],
        hidden: set[int],
        scale: Scale,
        device: torch.device,
    ) -> None:
        """`hidden`: the rows whose gradients go into the histogram."""
        self._scale = scale
        self._hidden = hidden
        self._rows = len(modules)
        streams = 2 * self._rows + 2
        self._tallies = CpuTallies(streams) if device.type == "cpu" else GpuTallies(streams, device)
        self._gradient_formats: dict[int, torch.dtype] = {}
        self._open = True
        rows = [*enumerate(modules), *((self._rows, module) for module in inner)]
        self._handles = [module.register_forward_hook(functools.partial(self._forward, row)) for row, module in rows]

    def close(self) -> None:
        """Stop counting; a graph that lives on is not looked at any more."""
        self._open = False
        for handle in self._handles:
            handle.remove()

    def add_parameters(self, gradients: Sequence[Tensor]) -> None:
        self._tallies.add_all(2 * self._rows + 1, gradients, self._scale)

    def read(
        self, step: int, scale: float | None, because: str, compute: torch.dtype, *, of_weights: bool
    ) -> NumericsSampled:
        """`of_weights`: whether products made the parameters' gradients."""
        tallies = self._tallies.read()
        gradients, parameters = tallies[self._rows : -1], tallies[-1]  # the last of the gradients is of the inner ones
        # Gradients that flow in the format of the products; under autocast norms and residuals pass on fp32.
        rows = [row for row, dtype in self._gradient_formats.items() if dtype == compute]
        computed = [gradients[row] for row in rows if row in self._hidden]
        products = [gradients[row] for row in rows] + ([parameters] if of_weights else [])
        return NumericsSampled(
            step=step,
            grad_scale=scale,
            because=because,
            **_columns("activation", tallies[: self._rows], 1.0),
            **_columns("gradient", gradients[:-1], self._scale.value),
            products_largest=_brief(_largest(products, compute) / self._scale.value),
            parameters=parameters.histogram(self._scale).to_dict(),
            gradients=together(computed).histogram(self._scale).to_dict(),
        )

    def _forward(self, row: int, module: nn.Module, inputs: object, output: object) -> None:
        tensor = output[0] if isinstance(output, tuple | list) else output
        if isinstance(tensor, Tensor) and not recomputing():
            if row < self._rows:
                self._tallies.add(row, tensor)
            if tensor.requires_grad:
                tensor.register_hook(functools.partial(self._backward, row))

    def _backward(self, row: int, gradient: Tensor) -> None:
        if self._open:
            self._tallies.add(self._rows + row, gradient, self._scale)
            self._gradient_formats[row] = gradient.dtype


def _linear_layers(model: nn.Module) -> list[nn.Module]:
    from transformers.pytorch_utils import Conv1D

    return [module for module in model.modules() if isinstance(module, nn.Linear | Conv1D)]


def _largest(tallies: Sequence[Tally], compute: torch.dtype) -> float:
    """The largest finite magnitude; a tied weight adds what its embedding computed in fp32, which has more range."""
    return min(max((tally.largest for tally in tallies if tally.total), default=math.nan), torch.finfo(compute).max)


def _columns(what: str, tallies: Sequence[Tally], scale: float) -> dict[str, Any]:
    return {
        f"{what}_largest": [_brief(t.largest / scale if t.total else math.nan) for t in tallies],
        f"{what}_zeros": [_brief(t.share(t.zeros)) for t in tallies],
        f"{what}_subnormal": [_brief(t.share(t.subnormal)) for t in tallies],
        f"{what}_non_finite": [_brief(t.share(t.non_finite)) for t in tallies],
    }


def _brief(value: float) -> float:
    return float(f"{value:.5g}")
