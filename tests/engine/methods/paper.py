"""Houlsby et al. 2019, written down a second time from the paper: decoder layers with adapters, layout by layout.

Nothing here knows how the app finds its places: each layout's own order of norms, sub-layers and sums is spelt out, an
adapter stands on the output of a sub-layer, and its numbers come from the saved file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

Sublayer: TypeAlias = Callable[[Tensor], Tensor]


def adapt_layers(
    model: PreTrainedModel, tensors: dict[str, Tensor], activation: str, *, after_attention: bool
) -> PreTrainedModel:
    """Give every decoder layer of a plain model a forward of ours, with the adapters of a saved file.

    Every layer must have one after the MLP, and one `after_attention` or none there.
    """
    layout = model.config.model_type
    for number, layer in enumerate(_layers(model)):
        mine = {name: tensor for name, tensor in tensors.items() if f".{number}." in name}
        attention, mlp = ({name: t for name, t in mine.items() if f".{part}." in name} for part in _NAMES[layout])
        assert (len(attention), len(mlp)) == (4 if after_attention else 0, 4)
        formula = _FORMULAS[_variant(model)]
        layer.forward = _Layer(layer, formula, adapter(attention, activation), adapter(mlp, activation))
    return model


def adapter(tensors: dict[str, Tensor], activation: str) -> Sublayer:
    """y = x + W_up·f(W_down·x + b_down) + b_up; the identity where there are no numbers for it."""
    if not tensors:
        return lambda x: x
    w_down, b_down, w_up, b_up = (
        next(tensor for name, tensor in tensors.items() if name.endswith(part))
        for part in ("down.weight", "down.bias", "up.weight", "up.bias")
    )
    f = _ACTIVATIONS[activation]
    return lambda x: x + f(x @ w_down.T + b_down) @ w_up.T + b_up


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0.0),
    "gelu": lambda x: 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "silu": lambda x: x / (1.0 + torch.exp(-x)),
}
# Under which name attention and the last part of the MLP have their adapters.
_NAMES = {
    "gpt2": ("attn", "mlp"),
    "gpt_neox": ("attention", "mlp"),
    "opt": ("self_attn", "fc2"),
} | dict.fromkeys(
    ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi", "phi3"), ("self_attn", "mlp")
)


def _layers(model: PreTrainedModel) -> Any:
    decoder = model.get_decoder()
    return decoder.h if hasattr(decoder, "h") else decoder.layers


def _variant(model: PreTrainedModel) -> str:
    config = model.config
    if config.model_type == "gpt_neox" and not config.use_parallel_residual:
        return "gpt_neox, one after the other"
    if config.model_type == "opt" and not config.do_layer_norm_before:
        return "opt, norm last"
    return str(config.model_type)


class _Layer:
    """Stands in for a layer's forward: takes what it takes, and hands the rest to attention."""

    def __init__(self, layer: Any, formula: Any, after_attention: Sublayer, after_mlp: Sublayer) -> None:
        self.layer, self.formula = layer, formula
        self.after_attention, self.after_mlp = after_attention, after_mlp
        self.signature = inspect.signature(type(layer).forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        given = dict(self.signature.bind(self.layer, *args, **kwargs).arguments)
        x, rest = given["hidden_states"], given | given.get("kwargs", {})
        rest = {key: value for key, value in rest.items() if key not in ("self", "hidden_states", "kwargs")}

        def attend(module: Any, hidden: Tensor) -> Tensor:
            output: Tensor = module(hidden, **rest)[0]
            return self.after_attention(output)

        result: Tensor = self.formula(self.layer, x, attend, self.after_mlp)
        return result


def _llama(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    x = x + attend(layer.self_attn, layer.input_layernorm(x))
    return x + adapt(layer.mlp(layer.post_attention_layernorm(x)))


def _gemma2(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    """The norm of what a sub-layer gives comes behind the adapter."""
    x = x + layer.post_attention_layernorm(attend(layer.self_attn, layer.input_layernorm(x)))
    return x + layer.post_feedforward_layernorm(adapt(layer.mlp(layer.pre_feedforward_layernorm(x))))


def _phi(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    """Attention and MLP side by side, on the same norm."""
    normed = layer.input_layernorm(x)
    return x + attend(layer.self_attn, normed) + adapt(layer.mlp(normed))


def _gpt2(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    x = x + attend(layer.attn, layer.ln_1(x))
    return x + adapt(layer.mlp(layer.ln_2(x)))


def _gpt_neox(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    """Side by side, each with a norm of its own."""
    return x + attend(layer.attention, layer.input_layernorm(x)) + adapt(layer.mlp(layer.post_attention_layernorm(x)))


def _gpt_neox_sequential(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    x = x + attend(layer.attention, layer.input_layernorm(x))
    return x + adapt(layer.mlp(layer.post_attention_layernorm(x)))


def _opt_mlp(layer: Any, x: Tensor) -> Tensor:
    output: Tensor = layer.fc2(layer.activation_fn(layer.fc1(x)))
    return output


def _opt(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    x = x + attend(layer.self_attn, layer.self_attn_layer_norm(x))
    return x + adapt(_opt_mlp(layer, layer.final_layer_norm(x)))


def _opt_norm_last(layer: Any, x: Tensor, attend: Any, adapt: Sublayer) -> Tensor:
    """As in the original Transformer, and in BERT, for which the paper was written."""
    x = layer.self_attn_layer_norm(x + attend(layer.self_attn, x))
    normed: Tensor = layer.final_layer_norm(x + adapt(_opt_mlp(layer, x)))
    return normed


_FORMULAS = {
    "gemma2": _gemma2,
    "gemma3_text": _gemma2,
    "phi": _phi,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gpt_neox, one after the other": _gpt_neox_sequential,
    "opt": _opt,
    "opt, norm last": _opt_norm_last,
} | dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "gemma", "phi3"), _llama)
