"""Tiny seeded models of the architectures that people download, made from transformers' own config classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from tests.tiny import VOCABULARY, tokenizer

_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Every family takes those of the settings that its config class knows.
_EXPERTS: dict[str, Any] = {
    "num_local_experts": 4,
    "num_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "moe_intermediate_size": 16,
    "num_shared_experts": 1,
    "n_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 0,
    "moe_layer_start_index": 0,
    "num_dense_layers": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
}
_STATES: dict[str, Any] = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_d_ssm": 64,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "mamba_dt_rank": 4,
    "mamba_chunk_size": 16,
    "use_mamba_kernels": False,
    "ssm_state_size": 8,
    "state_size": 8,
    "time_step_rank": 4,
    "n_groups": 1,
    "num_heads": 4,
    "expand": 2,
    "conv_kernel": 4,
    "lru_width": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
_WINDOW = {"layer_types": ["sliding_attention", "full_attention"]}
_PER_LAYER = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY}

DENSE: dict[str, dict[str, Any]] = {
    **{
        name: {}
        for name in [
            "llama",
            "mistral",
            "ministral",
            "ministral3",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "cohere",
            "cohere2",
            "olmo",
            "olmo2",
            "olmo3",
            "phi3",
            "stablelm",
            "starcoder2",
            "granite",
            "nemotron",
            "smollm3",
            "helium",
            "exaone4",
            "seed_oss",
            "arcee",
            "apertus",
            "biogpt",
            "hunyuan_v1_dense",
            "ernie4_5",
            "bitnet",
            "diffllama",
            "internlm3",
            "vaultgemma",
            "nanochat",
            "gpt_neox",
            "jais2",
        ]
    },
    "phi": {"num_key_value_heads": 4},
    "persimmon": {"num_key_value_heads": 4},
    "glm": {"partial_rotary_factor": 0.5},
    "glm4": {"partial_rotary_factor": 0.5},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0},
    "opt-350m": {"ffn_dim": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "dropout": 0.0},
    "falcon": {"multi_query": True, "alibi": False, "ffn_hidden_size": 64},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256, "expansion_ratio": 2},
    "gpt2": _GPT,
    "openai-gpt": _GPT,
    "gpt_bigcode": _GPT,
    "gptj": _GPT | {"rotary_dim": 4},
    "codegen": _GPT | {"rotary_dim": 4},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "xglm": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64},
    "gemma3n_text": _PER_LAYER
    | _WINDOW
    | {"laurel_rank": 4, "num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0], "altup_num_inputs": 2},
    "gemma4_text": _PER_LAYER | _WINDOW | {"num_kv_shared_layers": 0},
}
MIXTURES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        [
            "mixtral",
            "qwen2_moe",
            "qwen3_moe",
            "olmoe",
            "flex_olmo",
            "gpt_oss",
            "granitemoe",
            "granitemoeshared",
            "phimoe",
            "ernie4_5_moe",
            "glm4_moe",
            "hunyuan_v1_moe",
            "dots1",
            "cohere2_moe",
        ],
        _EXPERTS,
    ),
    "deepseek_v2": _EXPERTS | {"num_key_value_heads": 4},
    "llama4_text": _EXPERTS | {"interleave_moe_layer_step": 1, "intermediate_size_mlp": 64},
    "minimax": _EXPERTS | {"layer_types": ["full_attention", "linear_attention"]},
    "jetmoe": _EXPERTS | {"kv_channels": 8},
    "lfm2_moe": _EXPERTS | {"layer_types": ["conv", "full_attention"]},
}
STATES: dict[str, dict[str, Any]] = {
    "mamba": _STATES,
    "mamba2": _STATES | {"chunk_size": 16, "head_dim": 16},
    "falcon_mamba": _STATES,
    "falcon_h1": _STATES,
    "nemotron_h": _STATES
    | _EXPERTS
    | {
        "hybrid_override_pattern": "M*-E",
        "num_hidden_layers": 4,
        "moe_shared_expert_intermediate_size": 16,
        "moe_latent_size": None,
        "chunk_size": 16,
    },
    "jamba": _STATES
    | _EXPERTS
    | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "bamba": _STATES | {"attn_layer_indices": [1]},
    "granitemoehybrid": _STATES | _EXPERTS | {"layer_types": ["mamba", "attention"]},
    "rwkv": {"attention_hidden_size": 32, "context_length": 256},
    "recurrent_gemma": _STATES | {"attention_window_size": 64, "block_types": ["recurrent", "attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8, "conv_L_cache": 3},
    "qwen3_next": _STATES | _EXPERTS | _HYBRID,
    "qwen3_5_text": _STATES | _HYBRID,
    "qwen3_5_moe_text": _STATES | _EXPERTS | _HYBRID,
    "zamba2": _STATES
    | {
        "layers_block_type": ["mamba", "hybrid"],
        "mamba_ngroups": 1,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "num_mem_blocks": 1,
        "adapter_rank": 8,
    },
}
_VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
_TOWER = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
PACKAGED: dict[str, dict[str, Any]] = {
    "gemma3": {
        "text_config": _TEXT | _WINDOW,
        "vision_config": _VISION | {"image_size": 28, "patch_size": 14},
        "mm_tokens_per_image": 4,
        "image_token_index": 5,
        "boi_token_index": 6,
        "eoi_token_index": 7,
    },
    "mistral3": {
        "text_config": _TEXT | {"model_type": "mistral"},
        "vision_config": _VISION | {"model_type": "pixtral", "image_size": 28, "patch_size": 14, "head_dim": 16},
        "image_token_index": 5,
    },
    "qwen3_5": {
        "text_config": _TEXT | _STATES | _HYBRID,
        "vision_config": _TOWER | {"num_position_embeddings": 16},
    },
    "qwen2_5_vl": {
        "text_config": _TEXT
        | {"rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2]}},
        "vision_config": _TOWER | {"fullatt_block_indexes": [0]},
    },
}
ALL = (*DENSE, *MIXTURES, *STATES, *PACKAGED)


def make(name: str) -> PreTrainedModel:
    """Return a tiny model of an architecture, with random weights, in evaluation."""
    torch.manual_seed(0)
    if name in PACKAGED:
        packaged: PreTrainedModel = AutoModelForImageTextToText.from_config(CONFIG_MAPPING[name](**PACKAGED[name]))
        return packaged.eval()
    config_class = CONFIG_MAPPING["opt" if name == "opt-350m" else name]
    special = (DENSE | MIXTURES | STATES)[name]
    known = config_class().to_dict().keys() | getattr(config_class, "attribute_map", {}).keys()
    own = {key for key in special if not (special is _EXPERTS or key in _STATES or key in _EXPERTS)}
    config = config_class(**{key: value for key, value in (_TEXT | special).items() if key in known | own})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval()


def save(name: str, folder: Path) -> Path:
    """Save a tiny model with its tokenizer as an ordinary folder; return the folder."""
    make(name).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
