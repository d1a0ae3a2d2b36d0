"""Tiny models of the families that people train, each from a seed."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 264
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def llama(*, seed: int = 7, **settings: Any) -> LlamaForCausalLM:
    """Return three layers of Llama, not tied, with 2 queries to a key."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(**_shape() | {"num_key_value_heads": 2, "tie_word_embeddings": False} | settings)
    )


def qwen2(*, seed: int = 5, **settings: Any) -> Qwen2ForCausalLM:
    """Return three layers of Qwen2, tied, with biases in the attention."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(**_shape() | {"num_key_value_heads": 2, "tie_word_embeddings": True} | settings)
    )


def gpt2(*, seed: int = 11, **settings: Any) -> GPT2LMHeadModel:
    """Return three layers of GPT-2, tied, its linear layers transposed (Conv1D)."""
    torch.manual_seed(seed)
    shape = {"vocab_size": VOCABULARY, "n_embd": 40, "n_layer": 3, "n_head": 4, "n_positions": 160}
    return GPT2LMHeadModel(GPT2Config(**shape | ENDS | settings))


def neox(*, seed: int = 3, **settings: Any) -> GPTNeoXForCausalLM:
    """Return three layers of GPT-NeoX (Pythia), attention and feed-forward in parallel."""
    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**_shape() | settings))


def opt(*, seed: int = 13, **settings: Any) -> OPTForCausalLM:
    """Return three layers of OPT, with ReLU and learned positions."""
    torch.manual_seed(seed)
    shape = {"vocab_size": VOCABULARY, "hidden_size": 40, "ffn_dim": 96, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "max_position_embeddings": 160, "word_embed_proj_dim": 40}
    return OPTForCausalLM(OPTConfig(**shape | heads | ENDS | settings))


MODELS = {"llama": llama, "qwen2": qwen2, "gpt2": gpt2, "neox": neox, "opt": opt}


def blocks(model: PreTrainedModel) -> torch.nn.ModuleList:
    """Return the transformer blocks of any of these models."""
    return max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)


def _shape() -> dict[str, Any]:
    shape = {"vocab_size": VOCABULARY, "hidden_size": 40, "intermediate_size": 96, "num_hidden_layers": 3}
    return shape | {"num_attention_heads": 4, "max_position_embeddings": 160} | ENDS
