"""Linear layers with LoRA as one step of the graph: y = x Wᵀ + s·drop(x) Aᵀ Bᵀ (Hu et al. 2021, arXiv 2106.09685).

peft builds the same from six modules, each of which keeps its own copies for the backward pass. Here one tensor is kept
of the input, and the rest is computed anew. Layers that read the same input, such as q, k and v, are one step together:
they share its conversion, its dropout and the products of A.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from studio.engine.kernels.products import addmm, addmm_, dense, mm

# Bits that decide whether dropout keeps an entry. One draw of the generator has eight times 8.
_BITS = 8

_apart = False


@contextmanager
def layers_apart() -> Iterator[None]:
    """Let each layer compute its own output for a while, so that the graph has a gradient by the input of each.

    Who gives the layers views of what they read needs this. A block that is computed again may get no views, and has to
    make the same graph.
    """
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def fuse_lora(trained: nn.Module) -> None:
    """Give every plain LoRA layer of a peft model the forward of this module; what it does not cover stays as it is.

    The layers keep their parameters, names and places, so saving, merging and loading know nothing of it.
    """
    from peft.tuners.lora.layer import LoraLayer

    last = _LastRead()
    for module in trained.modules():
        if isinstance(module, LoraLayer) and type(module).__name__ in ("Linear", "Linear4bit") and _is_plain(module):
            module.forward = _Forward(module, last)


def _is_plain(layer: Any) -> bool:
    """One adapter, no variant such as DoRA, on an ordinary linear layer or one in nf4."""
    (name, *more) = layer.active_adapters
    base = layer.get_base_layer()
    return (
        not more
        and (type(base) is nn.Linear or hasattr(base.weight, "quant_state"))
        and not layer.lora_variant
        and not layer.lora_bias[name]
        and not base.weight.requires_grad
        and (base.bias is None or not base.bias.requires_grad)
    )


class _Forward:
    """The forward of one layer.

    The first pass without gradients, which loading makes, finds out which layers read the same input one after the
    other, whatever an architecture calls them. From then on the first of them computes the outputs of all, and the
    others fetch theirs. Modules and hooks see what they always saw. A pass with gradients finds out nothing: the blocks
    of it that are computed again must not come out otherwise.
    """

    def __init__(self, layer: Any, last: _LastRead) -> None:
        self._layer = layer
        self._last = last
        self._group: list[Any] = []  # this layer and those that read the same, in the order in which they are called

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        layer, last = self._layer, self._last
        if args or kwargs or layer.disable_adapters or layer.merged:
            other: Tensor = type(layer).forward(layer, x, *args, **kwargs)
            return other
        again = last.is_(x)
        if again and layer in last.waiting:
            return last.waiting.pop(layer)
        if not self._group and not torch.is_grad_enabled():
            alike = again and last.group and _scaling_and_rate(layer) == _scaling_and_rate(last.group[0])
            self._group = last.group if alike else []
            self._group.append(layer)
        # What reads another input than the first of its group, after all, is computed alone.
        first = self._group[0] if self._group else None
        layers = self._group if layer is first and not _apart else [layer]
        last.waiting.clear()
        output, *others = _outputs(layers, x)
        last.note(x, self._group, dict(zip(layers[1:], others, strict=True)))
        return output


class _LastRead:
    """What a model's layers have read last, by which group, and the outputs of it that wait to be fetched.

    There is one for a model. Were there one for each group, what waits where memory runs out, and with it the graph
    of that pass, would live on until the next pass came by.
    """

    def __init__(self) -> None:
        self.group: list[Any] = []
        self.waiting: dict[Any, Tensor] = {}
        self._input: weakref.ref[Tensor] | None = None
        self._version = 0

    def is_(self, x: Tensor) -> bool:
        """Return whether this is what was read last, and was not changed in place since."""
        return self._input is not None and self._input() is x and self._version == x._version

    def note(self, x: Tensor, group: list[Any], waiting: dict[Any, Tensor]) -> None:
        self._input, self._version, self.group, self.waiting = weakref.ref(x), x._version, group, waiting


def _scaling_and_rate(layer: Any) -> tuple[float, float]:
    (name,) = layer.active_adapters
    return layer.scaling[name], getattr(layer.lora_dropout[name], "p", 0.0)


def _outputs(layers: Sequence[Any], x: Tensor) -> list[Tensor]:
    (name,) = layers[0].active_adapters
    scaling, rate = _scaling_and_rate(layers[0])
    kind = x.device.type
    found = _LoraLinears.apply(  # type: ignore[no-untyped-call]
        x,
        [layer.get_base_layer() for layer in layers],
        scaling,
        rate if layers[0].training else 0.0,
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype,
        *(layer.lora_A[name].weight for layer in layers),
        *(layer.lora_B[name].weight for layer in layers),
    )
    # A view made in the function itself could not be changed in place, as some models do with what a layer returns.
    return [output.view(*x.shape[:-1], -1) for output in found]


class _LoraLinears(torch.autograd.Function):
    """Several layers that read one x (…, d_in): of each a (r, d_in), b (d_out, r), and the output (tokens, d_out).

    The frozen weights stay apart. Copying their outputs and gradients from and into one tensor takes as long as one
    product for all of them saves. Weights in nf4 are made whole one at a time, for each of the two products.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bases: Sequence[Any], scaling: float, rate: float, dtype: torch.dtype, *factors: Tensor
    ) -> tuple[Tensor, ...]:
        every_a, every_b = factors[: len(bases)], [b.to(dtype) for b in factors[len(bases) :]]
        ranks = [len(a) for a in every_a]
        inputs = x.to(dtype).flatten(0, -2)
        read = drop(inputs, rate) if rate else inputs
        a = torch.cat(every_a).to(dtype)
        # What is kept is scaled up by 1 / (1 - rate); that factor rides on the scaling.
        inner = mm(read, a.t()).mul_(scaling / (1.0 - rate))
        outputs = []
        for base, b, part in zip(bases, every_b, inner.split(ranks, 1), strict=True):
            weight = dense(base.weight, dtype).t()
            plain = mm(inputs, weight) if base.bias is None else addmm(base.bias.to(dtype), inputs, weight)
            outputs.append(addmm_(plain, part, b.t()))
        ctx.save_for_backward(read, inner, a, *every_b)
        # Frozen, and in nf4 more than tensors: what is saved for backward comes back without it.
        ctx.weights = [base.weight for base in bases]
        ctx.scaling, ctx.rate, ctx.ranks = scaling / (1.0 - rate), rate, ranks
        ctx.formats, ctx.shape = (x.dtype, factors[0].dtype), x.shape
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        read, inner, a, *every_b = ctx.saved_tensors
        of_x, of_factors = ctx.formats
        outers = [gradient.to(read.dtype) for gradient in gradients]
        to_inner = torch.cat([mm(outer, b) for outer, b in zip(outers, every_b, strict=True)], 1).mul_(ctx.scaling)
        to_a = mm(to_inner.t(), read).to(of_factors).split(ctx.ranks)
        parts = inner.split(ctx.ranks, 1)
        to_b = [mm(outer.t(), part).to(of_factors) for outer, part in zip(outers, parts, strict=True)]
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = mm(to_inner, a)
            if ctx.rate:
                drop_likewise_(to_x, read)
            del read, inner, parts  # of a block that is computed again, these are the only references
            for outer, weight in zip(outers, ctx.weights, strict=True):
                to_x = addmm_(to_x, outer, dense(weight, to_x.dtype))
            to_x = to_x.to(of_x).view(ctx.shape)
        return to_x, None, None, None, None, *to_a, *to_b


def drop(values: Tensor, rate: float) -> Tensor:
    """Return the values with -0.0 where they are dropped, and nowhere else (Srivastava et al. 2014); nothing is scaled.

    Multiplied, -0.0 is as good as 0, and the backward pass reads from it what was dropped: there is no mask to keep. As
    an integer of their size, the bits of -0.0 are below those of all other numbers. So the smaller of the bits and a
    limit, which is the largest integer or the smallest, is the number or -0.0. Comparisons that give truth values, and
    choosing by them, take ten times as long on a processor.

    Args:
        values: floating-point numbers of 16 or 32 bits, any shape.
        rate: the share that is dropped, on average over the calls. The draws are from torch's global generator.
    """
    if values.device.type != "cpu":
        return _drop_on_gpu(values, rate)
    bits, lowest = _bits(values)
    limits = _draw_kept(values, rate, bits.dtype).neg_().bitwise_xor_(lowest)
    # A kept -0.0 becomes the number next to it.
    found = bits.clamp(min=lowest + 1)
    return torch.minimum(found, limits, out=found).view(values.dtype)


def drop_likewise_(values: Tensor, dropped: Tensor) -> Tensor:
    """Set values to 0, in place and whatever they were, where `drop` has dropped an entry of `dropped`."""
    if values.device.type != "cpu":
        return _drop_likewise_on_gpu_(values, dropped)
    bits, lowest = _bits(dropped)
    keep = torch.gt(bits, lowest, out=torch.empty_like(bits)).neg_()  # all bits or none
    values.view(keep.dtype).bitwise_and_(keep)
    return values


def _drop_on_gpu(values: Tensor, rate: float) -> Tensor:
    """Do what `drop` does in three operations: starting them takes a GPU longer than most of them take."""
    gone = torch.empty_like(values, dtype=torch.bool).bernoulli_(rate)
    return values.add(0.0).masked_fill_(gone, -0.0)  # -0.0 + 0.0 is 0.0


def _drop_likewise_on_gpu_(values: Tensor, dropped: Tensor) -> Tensor:
    bits, lowest = _bits(dropped)
    return values.masked_fill_(bits == lowest, 0.0)


def _bits(values: Tensor) -> tuple[Tensor, int]:
    """Return the bits of numbers as signed integers, in place, and the smallest of these, the bits of -0.0."""
    dtype = torch.int16 if values.element_size() == 2 else torch.int32
    return values.view(dtype), torch.iinfo(dtype).min


def _draw_kept(like: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """Return 1 where an entry is kept and 0 where it is dropped, integers in the shape of `like`."""
    # Drawing one number an entry, as bernoulli_ does, takes a fifth of the time of a training step. With so few bits,
    # the limit between dropped and kept is itself drawn from the two nearest, so that on average the rate is exact.
    limit = math.floor(rate * (1 << _BITS) + torch.rand(()).item())
    draws = torch.empty(-(-like.numel() * _BITS // 64), dtype=torch.int64).random_(-(2**63), None).view(torch.int8)
    return draws[: like.numel()].view(like.shape).to(dtype).ge_(limit - (1 << _BITS - 1))
