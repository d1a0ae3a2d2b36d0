"""Tiny random models of many architectures."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

_SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 24,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 8},
    "gemma2": {"head_dim": 8},
    "gemma3_text": {"sliding_window": 8, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16},
    "phi3": {},
    "mixtral": _EXPERTS,
    "olmoe": _EXPERTS,
    "qwen3_moe": _EXPERTS | {"head_dim": 8},
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "falcon": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2},
}


def make(name: str, **changes: Any) -> PreTrainedModel:
    """Build a model of an architecture of `ARCHITECTURES`, about 20,000 parameters."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **_SIZES | ARCHITECTURES[name] | changes)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return model
