"""SmolLM2-135M by its shapes alone: every weight is zero, so that it takes no time and hardly any memory."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from studio.engine.models.shapes import ModelShapes
from studio.engine.models.structure import model_shapes

PARAMETERS = 134_515_008


def smollm2(layers: int = 30) -> PreTrainedModel:
    """Return a model of its size, or with fewer layers, whose weights are pages of zeros that nothing has touched."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(torch.zeros(parameter.shape)))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype), persistent=False)
    model.tie_weights()
    return model.eval()


def shapes_of(model: PreTrainedModel) -> ModelShapes:
    """Return the shapes as the model's files would declare them."""
    return model_shapes(model, model.config.to_dict(), 4 * PARAMETERS)
