"""Tiny seeded models of every layout that methods are tried on: two layers, about 30,000 parameters each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from studio.engine.models.config import load_config, read_config, sanitised
from studio.engine.models.shapes import ModelShapes
from studio.engine.models.structure import empty_model, model_shapes
from studio.engine.models.weights import read_weights

VOCABULARY, HIDDEN, INNER, LAYERS = 300, 32, 48, 2

# The usual names of the sizes; every family but GPT-2 and OPT has them.
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    # Random weights of the customary size say next to nothing; these make every layer matter.
    "initializer_range": 0.1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED: dict[str, Any] = {"num_key_value_heads": 2, "tie_word_embeddings": True}
_GEMMA = _GROUPED | {"head_dim": 8}
_WINDOW = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}

# Name of the layout: class of the model, class of its config, and what is special about the config.
_LAYOUTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", _GROUPED),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", _GROUPED | {"head_dim": 16}),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GROUPED | {"tie_word_embeddings": False}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", _GEMMA),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", _GEMMA | _WINDOW),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", _GEMMA | _WINDOW),
    "phi": ("PhiForCausalLM", "PhiConfig", {"resid_pdrop": 0.0}),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", _GROUPED | {"resid_pdrop": 0.0}),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_positions": 128, "n_inner": INNER, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {"use_parallel_residual": True}),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {"ffn_dim": INNER, "word_embed_proj_dim": HIDDEN, "dropout": 0.0, "init_std": 0.1},
    ),
}
LAYOUTS = tuple(_LAYOUTS)


def make(layout: str, *, seed: int = 0, **settings: Any) -> PreTrainedModel:
    """Return a tiny model of a layout, in fp32 and in evaluation; `settings` go into its config."""
    model_class, config_class, special = _LAYOUTS[layout]
    config = getattr(transformers, config_class)(**_COMMON | special | settings)
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(transformers, model_class)(config)
    _shake(model)
    return model.eval()


def shapes_of(layout: str, folder: Path) -> ModelShapes:
    """Save a tiny model of a layout and return its shapes."""
    make(layout).save_pretrained(folder)
    return folder_shapes(folder)


def folder_shapes(folder: Path) -> ModelShapes:
    """Return the shapes of a model in a folder."""
    config = sanitised(read_config(folder))
    return model_shapes(empty_model(folder, load_config(folder)), config, read_weights(folder).bytes)


def ids(rows: int = 2, length: int = 12, *, seed: int = 0) -> torch.Tensor:
    """Return random token ids, (rows, length)."""
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _shake(model: PreTrainedModel) -> None:
    """Norms that are all ones and biases that are all zero would hide that one is left out or used twice."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter += 0.1 * torch.randn_like(parameter)
