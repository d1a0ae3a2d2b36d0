"""What a model is made of, read from transformers' own modules, built without memory for their weights.

Names in files do not tell it: transformers fuses and renames weights while it loads them, routers look like linear
layers, and the products of some state-space layers read a weight without calling its layer.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.pytorch_utils import Conv1D

from studio.engine.models.files import damaged, one_line
from studio.engine.models.shapes import ExpertShape, LinearShape, ModelShapes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What config classes call the sizes that formulas need; transformers maps the names of a family to these.
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "num_experts_per_tok",
)
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
# A layer with fewer inputs or outputs is a table of coefficients, and no rank is low beside it.
SMALLEST = 8
_ROUTERS = ("gate", "router", "shared_expert_gate")


def empty_model(path: Path, config: PretrainedConfig) -> PreTrainedModel:
    """Build the model without memory for its weights. Raises `ModelError` for a config.json that cannot be right."""
    config.name_or_path = str(path)
    model_class: Any = getattr(transformers, str((config.architectures or [""])[0]))
    attention = "sdpa" if model_class._supports_sdpa else "eager"
    try:
        with torch.device("meta"):
            model: PreTrainedModel = model_class._from_config(
                config, dtype=torch.float32, attn_implementation=attention
            )
    except Exception as error:  # whatever a model class makes of strange values, config.json is at fault
        raise damaged(path / "config.json", one_line(error)) from error
    return model


def text_part(model: PreTrainedModel) -> nn.Module:
    """Return the module that reads and continues text; of a model packaged with vision or audio, its language model."""
    config = model.config
    return model if config.get_text_config() is config else model.get_decoder()


def text_parameters(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Return the parameters of the text part and the output by their names in the whole model, shared ones once."""
    parts = (text_part(model), model.get_output_embeddings())
    inside = {id(parameter) for part in parts if part is not None for parameter in part.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in inside}


def linear_layers(model: PreTrainedModel) -> list[LinearShape]:
    """Return the layers that methods may adapt and that may be stored in fewer bits, quantised ones too.

    They are the linear layers of the text part, without the output, without the routers of experts, and without those
    layers of state-space mixers whose weights the mixer's fused kernels read directly: an adapter beside them would be
    passed over, and a quantised weight would be misread.
    """
    text, output = text_part(model), model.get_output_embeddings()
    inside = set(text.modules())
    counts = {getattr(model.config.get_text_config(), name, None) for name in _EXPERT_COUNTS} - {None}
    taken = _names_of_experts(model) if expert_weights(model) else frozenset()
    found = []
    for name, module in model.named_modules():
        if module not in inside or module is output or not is_linear(module):
            continue
        inputs, outputs = _sizes(module)
        parent, _, leaf = name.rpartition(".")
        is_router = leaf in _ROUTERS and outputs in {1, *counts}
        read_directly = leaf != "in_proj" and _is_state_space(model.get_submodule(parent))
        if not is_router and not read_directly and min(inputs, outputs) >= SMALLEST:
            found.append(LinearShape(name, inputs, outputs, adaptable=leaf not in taken))
    return found


def spared_layers(model: PreTrainedModel) -> list[LinearShape]:
    """Return all other linear layers, such as those of vision and routers: names of targets must not reach them."""
    adaptable = {layer.name for layer in linear_layers(model)}
    return [
        LinearShape(name, *_sizes(module))
        for name, module in model.named_modules()
        if is_linear(module) and name not in adaptable
    ]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer of torch, GPT-2 or bitsandbytes; routers that derive from one are none."""
    # A router returns the experts that it chose beside its scores, whatever it derives from.
    return isinstance(module, nn.Linear | Conv1D) and "router" not in type(module).__name__.lower()


def expert_weights(model: PreTrainedModel) -> list[ExpertShape]:
    """Return the weights in which the experts of a layer lie stacked, (experts, …, …)."""
    return [
        ExpertShape(name, *parameter.shape)
        for name, parameter in model.named_parameters()
        if parameter.dim() == 3 and "expert" in name.rpartition(".")[0]
    ]


def model_shapes(
    model: PreTrainedModel, config: dict[str, Any], stored_bytes: int, vocabulary_format: str = "fp32"
) -> ModelShapes:
    """Return the shapes of a model's parameters, shared ones once.

    Args:
        model: may be on the meta device.
        config: config.json.
        stored_bytes: size of the weights in its files.
        vocabulary_format: what its files keep the word embedding in, such as "bf16".
    """
    text = model.config.get_text_config()
    nested = config.get("text_config")
    settings = config | (nested if isinstance(nested, dict) else {})
    # Not by attribute: where layers differ in a size, asking the config for it is an error.
    declared = text.to_dict()
    names = ((name, text.attribute_map.get(name, name)) for name in _SIZES)
    known = {name: declared[own] for name, own in names if type(declared.get(own)) is int}
    output, embedding = model.get_output_embeddings(), model.get_input_embeddings().weight
    rows, columns = embedding.shape  # type: ignore[misc]
    of_text = text_parameters(model)
    return ModelShapes(
        tensors={name: tuple(parameter.shape) for name, parameter in of_text.items()},
        other={name: tuple(p.shape) for name, p in model.named_parameters() if name not in of_text},
        linear_layers=tuple(linear_layers(model)),
        experts=tuple(expert_weights(model)),
        embedding=(rows, columns),
        tied_embeddings=output is not None and output.weight is embedding,
        stored_bytes=stored_bytes,
        vocabulary_format=vocabulary_format,
        config={**known, **settings},
        transposed=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _sizes(module: Any) -> tuple[int, int]:
    """Numbers of inputs and outputs of a linear layer; GPT-2's Conv1D names them otherwise."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return module.nx, module.nf


def _names_of_experts(model: PreTrainedModel) -> frozenset[str]:
    """Last names of layers that peft takes for parts of the fused experts, in this family, wherever they stand.

    It translates targets of adapters made before transformers 5; a layer of its own of that name is out of its reach.
    """
    from studio.engine.models.quiet import import_bitsandbytes

    import_bitsandbytes()
    from peft.utils import transformers_weight_conversion as conversion

    patterns: dict[str, str] = vars(conversion)["_MODEL_TO_CONVERSION_PATTERN"]
    family = patterns.get(model.config.model_type, "")
    return frozenset(conversion._MOE_TARGET_MODULE_MAPPING.get(family, ()))


def _is_state_space(module: nn.Module) -> bool:
    """Whether a module is a Mamba mixer: it alone has a decay (A_log) and a direct path (D)."""
    own = dict(module.named_parameters(recurse=False))
    return "A_log" in own and "D" in own


def attends(model: PreTrainedModel) -> bool:
    """Return whether every layer keeps keys and values of the positions before, in which a learnt prefix can stand."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return False
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
