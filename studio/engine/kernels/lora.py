"""A linear layer with LoRA as one step of the graph: y = x Wᵀ + s·drop(x) Aᵀ Bᵀ (Hu et al. 2021, arXiv 2106.09685).

peft builds the same from six modules, each of which keeps its own copies for the backward pass. Here x is converted
once for all the layers that read it, dropout keeps two bytes an entry, and the rest is computed anew.
"""

from __future__ import annotations

import types
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from studio.engine.kernels.products import addmm, dense, mm

# Of a dropout rate: 16 bits are fine enough for it, and one draw of the generator has four times 16 bits.
_STEPS = 1 << 16


def fuse_lora(trained: nn.Module) -> None:
    """Give every plain LoRA layer of a peft model the forward of this module; what it does not cover stays as it is.

    The layers keep their parameters, names and places, so saving, merging and loading know nothing of it.
    """
    from peft.tuners.lora.layer import LoraLayer

    for module in trained.modules():
        if isinstance(module, LoraLayer) and type(module).__name__ in ("Linear", "Linear4bit") and _is_plain(module):
            module.forward = types.MethodType(_forward, module)


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


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if args or kwargs or layer.disable_adapters or layer.merged:
        other: Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return other
    (name,) = layer.active_adapters
    rate = getattr(layer.lora_dropout[name], "p", 0.0) if layer.training else 0.0
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    base = layer.get_base_layer()
    result: Tensor = _LoraLinear.apply(  # type: ignore[no-untyped-call]
        x,
        base.weight,
        base.bias,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
        layer.scaling[name],
        rate,
        dtype,
    )
    # A view made in the function itself could not be changed in place, as some models do with what a layer returns.
    return result.view(*x.shape[:-1], -1)


class _LoraLinear(torch.autograd.Function):
    """Shapes: x (…, d_in), weight (d_out, d_in), a (r, d_in), b (d_out, r); the result (tokens, d_out).

    The frozen weight may be in nf4. It is then made whole for each of the two products, and not kept between them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
        rate: float,
        dtype: torch.dtype,
    ) -> Tensor:
        inputs = _converted(x, dtype).flatten(0, -2)
        half_a, half_b = a.to(dtype), b.to(dtype)
        keep = keep_mask(inputs, rate) if rate else None
        # What is kept is scaled up by 1 / (1 - rate); that factor rides on the scaling.
        inner = mm(drop(inputs, keep), half_a.t()).mul_(scaling / (1.0 - rate))
        half_weight = dense(weight, dtype)
        plain = mm(inputs, half_weight.t()) if bias is None else addmm(bias.to(dtype), inputs, half_weight.t())
        ctx.save_for_backward(inputs, keep, inner, half_a, half_b)
        ctx.weight = weight  # frozen, and in nf4 more than a tensor: what is saved for backward comes back without it
        ctx.scaling, ctx.formats, ctx.shape = scaling / (1.0 - rate), (x.dtype, a.dtype, b.dtype), x.shape
        return addmm(plain, inner, half_b.t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, keep, inner, half_a, half_b = ctx.saved_tensors
        of_x, of_a, of_b = ctx.formats
        outer = gradient.to(inputs.dtype)
        to_inner = mm(outer, half_b).mul_(ctx.scaling)
        to_a = mm(to_inner.t(), drop(inputs, keep)).to(of_a)
        to_b = mm(outer.t(), inner).to(of_b)
        dtype, to_x = inputs.dtype, None
        del inputs, inner  # of a block that is computed again, these are the only references
        if ctx.needs_input_grad[0]:
            half_weight = dense(ctx.weight, dtype)
            if keep is None:
                to_x = addmm(mm(outer, half_weight), to_inner, half_a)
            else:
                to_x = drop_(mm(to_inner, half_a), keep).add_(mm(outer, half_weight))
            to_x = to_x.to(of_x).view(ctx.shape)
        return to_x, None, None, to_a, to_b, None, None, None


_last: tuple[weakref.ref[Tensor], int, weakref.ref[Tensor]] | None = None


def _converted(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x in the compute format; the layers that read the same x one after the other share one copy."""
    global _last
    if x.dtype is dtype:
        return x
    if _last is not None:
        source, version, copy = _last
        found = copy()
        if source() is x and version == x._version and found is not None and found.dtype is dtype:
            return found
    made = x.to(dtype)
    _last = weakref.ref(x), x._version, weakref.ref(made)
    return made


def keep_mask(like: Tensor, rate: float) -> Tensor:
    """Return where an entry is kept, in the shape of `like`: bool, or on a processor int16 with all bits set or none.

    This is the mask of dropout (Srivastava et al. 2014). `rate` is the share that is dropped, rounded to 1/65536. The
    draws are from torch's global generator.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like, dtype=torch.bool).bernoulli_(1.0 - rate)
    # Drawing one number an entry, as bernoulli_ does, takes a fifth of the time of a training step.
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return draws[: like.numel()].ge_(round(rate * _STEPS) - _STEPS // 2).neg_().view(like.shape)


def drop(values: Tensor, keep: Tensor | None) -> Tensor:
    """Return the values with 0 where they are not kept; they are not scaled."""
    return values if keep is None else drop_(values.clone(), keep)


def drop_(values: Tensor, keep: Tensor) -> Tensor:
    """Set values to 0 where they are not kept, in place, whatever they were."""
    if keep.dtype is torch.int16 and values.element_size() == 2:  # eight times as fast as choosing by a condition
        values.view(torch.int16).bitwise_and_(keep)
        return values
    return values.masked_fill_(keep.logical_not(), 0.0)
