"""Where adapters go: behind the projections that write into the residual stream, found by structure alone.

Houlsby et al. 2019, section 2.1: "The adapter is always applied directly to the output of the sub-layer, after the
projection back to the input size, but before adding the skip connection back". Both sub-layers of a decoder layer end
with a linear layer of hidden size many outputs: `o_proj` and `down_proj` of Llama, `c_proj` twice in GPT-2, `dense` and
`dense_4h_to_h` in GPT-NeoX, `out_proj` and `fc2` in OPT. Behind it is the one place that all layouts have:

- It does not matter whether the sub-layers follow each other or stand side by side (Phi, GPT-NeoX), nor whether the
  norm comes first or after the sum (OPT-350m).
- Dropout of the sub-layer's output, where a model has it, acts on what leaves the adapter.
- Gemma 2 and 3 norm the output of a sub-layer before adding it. The adapter stands in front of that norm, as the paper
  has it, so that what is added keeps the size that the layers above are used to.

No table of models is needed: a sub-layer is a child of a decoder layer that multiplies; attention says so in its name
or its class's; what is left is the feed-forward sub-layer, a module or, in OPT, bare linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from torch import nn

from studio.engine.models.shapes import is_attention
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Placement: TypeAlias = Literal["houlsby", "pfeiffer"]


def find_places(model: PreTrainedModel, placement: Placement) -> tuple[str, ...]:
    """Return the names of the modules whose outputs adapters take, in the order of the layers.

    Args:
        model: a plain transformers model; its linear layers may be quantised.
        placement: "houlsby" is behind attention and behind the MLP, "pfeiffer" behind the MLP alone.

    Raises:
        ModelError: the model is not made of layers with attention and one feed-forward part.
    """
    hidden = hidden_size(model)
    places: list[str] = []
    for name, layer in _decoder_layers(model):
        attention, feed_forward = _sublayers(name, layer)
        parts = (attention, feed_forward) if placement == "houlsby" else (feed_forward,)
        places += [f"{name}.{_projection(layer, part, hidden)}" for part in parts]
    return tuple(places)


def hidden_size(model: PreTrainedModel) -> int:
    """Return d, the width of the residual stream."""
    return int(model.config.get_text_config().hidden_size)


def outputs_of(module: nn.Module) -> int | None:
    """Return the number of outputs of a linear layer, also a quantised one or a Conv1D; None for other modules."""
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear):
        return module.out_features
    return int(module.nf) if isinstance(module, Conv1D) else None


def _decoder_layers(model: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """The members of the outermost list that has as many of them as the config has layers."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and all(_multiplies(layer) for layer in module):
            yield from ((f"{name}.{number}", layer) for number, layer in enumerate(module))
            return
    raise ModelError(
        tr("The bottleneck adapter finds no list of {count} layers in this model ({kind}); choose LoRA.").format(
            count=count, kind=type(model).__name__
        )
    )


def _sublayers(name: str, layer: nn.Module) -> tuple[str, str]:
    """Return the names of attention and feed-forward part within a layer."""
    parts = {child: module for child, module in layer.named_children() if _multiplies(module)}
    attention = [child for child, module in parts.items() if is_attention(f"{child} {type(module).__name__}")]
    others = [child for child in parts if child not in attention]
    bare = all(outputs_of(parts[child]) is not None for child in others)
    if len(attention) != 1 or not others or (len(others) > 1 and not bare):
        raise ModelError(
            tr(
                "The bottleneck adapter goes behind attention and MLP, and {layer} ({kind}) of this model is not made "
                "of one each; choose LoRA."
            ).format(layer=name, kind=type(layer).__name__)
        )
    return attention[0], others[-1]


def _projection(layer: nn.Module, part: str, hidden: int) -> str:
    """Return the name of the linear layer that ends a sub-layer: of those with d outputs, the last one declared.

    With mixtures of experts many end it, and their weighted sum is what the module returns.
    """
    sublayer: nn.Module = layer.get_submodule(part)
    if _has_experts(sublayer):
        return part
    fitting: list[str] = [name for name, module in sublayer.named_modules(prefix=part) if outputs_of(module) == hidden]
    if not fitting:
        raise ModelError(
            tr(
                "{part} ({kind}) of this model does not end with a linear layer of {hidden} outputs; choose LoRA."
            ).format(part=part, kind=type(sublayer).__name__, hidden=hidden)
        )
    return fitting[-1]


def _multiplies(module: nn.Module) -> bool:
    return _has_experts(module) or any(outputs_of(inner) is not None for inner in module.modules())


def _has_experts(module: nn.Module) -> bool:
    """Experts are one weight of three dimensions, or a list of modules."""
    stacked = any(parameter.dim() == 3 for parameter in module.parameters())
    return stacked or any(isinstance(inner, nn.ModuleList) for inner in module.modules())
