"""Which architectures go into GGUF, and what llama.cpp expects of each: its numbers, and the layout of its weights.

`gguf` knows llama.cpp's names of weights. What it does not know stands here: how rows are ordered, what is added to
norms, and which settings of config.json become which keys. Anything that llama.cpp would silently compute in another
way is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from studio.errors import ExportError
from studio.i18n import tr

if TYPE_CHECKING:
    import numpy as np

Config: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How one of transformers' model types is stored.

    Attributes:
        name: what llama.cpp calls it.
        pairs: whether rows of the query and key projections are reordered: llama.cpp rotates neighbouring rows, and
            transformers the two halves of a head.
        norm_offset: what is added to the weights of norms, which transformers stores as differences to it.
        activation: the only activation function that llama.cpp computes for it.
        transposed: weights that transformers stores with their inputs first (Conv1D).
        rope: ways of stretching rotary positions that llama.cpp knows for it, beside none at all.
        extra: writes the keys that only this architecture has.
    """

    name: str
    pairs: bool = False
    norm_offset: float = 0.0
    activation: str = "silu"
    transposed: tuple[str, ...] = ()
    rope: tuple[str, ...] = ("linear", "yarn")
    extra: Callable[[Any, Config], None] = lambda writer, config: None


def _gemma(writer: Any, config: Config) -> None:
    for key, write in (
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
    ):
        if config.get(key):
            write(config[key])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])


def _gemma2(writer: Any, config: Config) -> None:
    _gemma(writer, config)
    # llama.cpp derives the scale of attention from the size of the model; only the published ones have another.
    expected = config["hidden_size"] // config["num_attention_heads"] if config["num_hidden_layers"] == 46 else None
    if config["query_pre_attn_scalar"] != (expected or config["head_dim"]):
        raise _refused("query_pre_attn_scalar", config["query_pre_attn_scalar"])
    _alternate(config, 2)


def _gemma3(writer: Any, config: Config) -> None:
    _gemma(writer, config)
    expected = config["hidden_size"] // config["num_attention_heads"] if config["num_hidden_layers"] == 62 else None
    if config["query_pre_attn_scalar"] != (expected or config["head_dim"]):
        raise _refused("query_pre_attn_scalar", config["query_pre_attn_scalar"])
    _alternate(config, 6)


def _alternate(config: Config, period: int) -> None:
    """llama.cpp lets every `period`th layer see everything, and the others a window."""
    kinds = config.get("layer_types") or []
    if any((kind == "full_attention") != ((layer + 1) % period == 0) for layer, kind in enumerate(kinds)):
        raise _refused("layer_types", kinds)


def _granite(writer: Any, config: Config) -> None:
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])
    if config.get("shared_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config["shared_intermediate_size"])


def _olmo(writer: Any, config: Config) -> None:
    writer.add_layer_norm_eps(1e-5)  # transformers has it in its code
    if config.get("clip_qkv") is not None:
        writer.add_clamp_kqv(config["clip_qkv"])


def _olmo2(writer: Any, config: Config) -> None:
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])


def _phi3(writer: Any, config: Config) -> None:
    # 0 tells llama.cpp that the model has no window; a missing key would be taken for an old file.
    writer.add_sliding_window(config.get("sliding_window") or 0)
    writer.add_rope_scaling_orig_ctx_len(
        config.get("original_max_position_embeddings")
        or rope_of(config).get("original_max_position_embeddings")
        or config["max_position_embeddings"]
    )


def _smollm3(writer: Any, config: Config) -> None:
    layers = config.get("no_rope_layers") or []
    if any(bool(rotated) != bool((layer + 1) % 4) for layer, rotated in enumerate(layers)):
        raise _refused("no_rope_layers", layers)


def _experts(writer: Any, config: Config) -> None:
    if config.get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if config.get("shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise _refused("mlp_only_layers", config.get("mlp_only_layers") or config["decoder_sparse_step"])


def _qwen3_experts(writer: Any, config: Config) -> None:
    _experts(writer, config)
    if not config.get("norm_topk_prob"):
        raise _refused("norm_topk_prob", False)


def _qwen2_experts(writer: Any, config: Config) -> None:
    _experts(writer, config)
    if config.get("norm_topk_prob"):
        raise _refused("norm_topk_prob", True)


_LLAMA = Architecture(name="llama", pairs=True, rope=("linear", "yarn", "llama3"))
ARCHITECTURES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "qwen2": Architecture(name="qwen2"),
    "qwen2_moe": Architecture(name="qwen2moe", extra=_qwen2_experts),
    "qwen3": Architecture(name="qwen3"),
    "qwen3_moe": Architecture(name="qwen3moe", extra=_qwen3_experts),
    "gemma": Architecture(name="gemma", norm_offset=1.0, activation="gelu_pytorch_tanh", extra=_gemma),
    "gemma2": Architecture(name="gemma2", norm_offset=1.0, activation="gelu_pytorch_tanh", extra=_gemma2),
    "gemma3_text": Architecture(name="gemma3", norm_offset=1.0, activation="gelu_pytorch_tanh", extra=_gemma3),
    "phi3": Architecture(name="phi3", rope=("longrope",), extra=_phi3),
    "gpt2": Architecture(
        name="gpt2",
        activation="gelu_new",
        transposed=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
    ),
    "olmo": Architecture(name="olmo", pairs=True, extra=_olmo),
    "olmo2": Architecture(name="olmo2", extra=_olmo2),
    "olmo3": Architecture(name="olmo2", extra=_olmo2),
    "olmoe": Architecture(name="olmoe", extra=_qwen2_experts),
    "smollm3": Architecture(name="smollm3", pairs=True, extra=_smollm3),
    "granite": Architecture(name="granite", pairs=True, extra=_granite),
    "granitemoe": Architecture(name="granitemoe", pairs=True, extra=_granite),
}


def architecture_of(config: Config) -> Architecture:
    """Return how a model is stored. Raises `ExportError` where llama.cpp would not compute what transformers does."""
    kind = str(config.get("model_type"))
    found = ARCHITECTURES.get(kind)
    if found is None:
        raise ExportError(
            tr("Models of the type {type} cannot be written as GGUF here; known are {known}.").format(
                type=kind, known=tr(", ").join(ARCHITECTURES)
            )
        )
    for key in ("hidden_activation", "hidden_act", "activation_function"):
        if config.get(key) not in (None, found.activation):
            raise _refused(key, config[key])
    rope = rope_of(config).get("rope_type", "default")
    if rope not in ("default", *found.rope):
        raise _refused("rope_type", rope)
    return found


def _refused(key: str, value: Any) -> ExportError:
    return ExportError(
        tr("llama.cpp does not know {key} = {value} for this model, so it cannot be written as GGUF.").format(
            key=key, value=value
        )
    )


def rope_of(config: Config) -> dict[str, Any]:
    """Return how the rotary positions of layers that see everything are made."""
    rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found: dict[str, Any] = rope.get("full_attention", rope)
    return found


def write_parameters(writer: Any, config: Config, architecture: Architecture) -> None:
    """Write the keys by which llama.cpp builds the model. Raises `ExportError`."""
    heads = _first(config, "num_attention_heads", "n_head")
    width = _first(config, "hidden_size", "n_embd")
    writer.add_block_count(layer_count(config))
    writer.add_context_length(_first(config, "max_position_embeddings", "n_positions"))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(_first(config, "intermediate_size", "n_inner", default=4 * width))
    writer.add_head_count(heads)
    writer.add_head_count_kv(_first(config, "num_key_value_heads", default=heads))
    writer.add_vocab_size(config["vocab_size"])
    for keys, write in (
        (("rms_norm_eps",), writer.add_layer_norm_rms_eps),
        (("layer_norm_eps", "layer_norm_epsilon"), writer.add_layer_norm_eps),
        (("num_local_experts", "num_experts"), writer.add_expert_count),
        (("num_experts_per_tok",), writer.add_expert_used_count),
    ):
        value = _first(config, *keys, default=None)
        if value:
            write(value)
    if architecture.name != "gpt2":
        _write_rope(writer, config, head_dim(config))
    architecture.extra(writer, config)


def _write_rope(writer: Any, config: Config, dim: int) -> None:
    from gguf import RopeScalingType

    rope = rope_of(config)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_rope_dimension_count(int(dim * (rope.get("partial_rotary_factor") or 1.0)))
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    local = (config.get("rope_parameters") or {}).get("sliding_attention")
    if local and "rope_theta" in local:
        writer.add_rope_freq_base_swa(local["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for key, write in (
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        ):
            if rope.get(key) is not None:
                write(rope[key])
    if kind == "longrope":
        original = rope.get("original_max_position_embeddings") or config["original_max_position_embeddings"]
        stretch = config["max_position_embeddings"] / original
        # Ding et al. 2024, LongRoPE; as transformers computes it where the file says nothing.
        default = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(rope.get("attention_factor") or default)


def rope_tensors(config: Config) -> dict[str, np.ndarray]:
    """Return the factors by which llama.cpp divides the frequencies of rotation, fp32, by the names of the tensors."""
    import numpy as np
    import torch

    rope = rope_of(config)
    if rope.get("rope_type") == "longrope":
        return {
            f"rope_factors_{kind}.weight": np.asarray(rope[f"{kind}_factor"], dtype=np.float32)
            for kind in ("long", "short")
        }
    if rope.get("rope_type") != "llama3":
        return {}
    frequencies = 1.0 / rope["rope_theta"] ** (torch.arange(0, head_dim(config), 2).float() / head_dim(config))
    wavelengths = 2 * math.pi / frequencies
    # Llama 3.1: long waves are stretched, short ones stay, and those between are mixed.
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = ((rope["original_max_position_embeddings"] / wavelengths - low) / (high - low)).clamp(0, 1)
    return {"rope_freqs.weight": (1 / ((1 - smooth) / factor + smooth)).numpy()}


def head_dim(config: Config) -> int:
    """Return the width of one head of attention."""
    given = config.get("head_dim")
    return int(given or _first(config, "hidden_size", "n_embd") // _first(config, "num_attention_heads", "n_head"))


def layer_count(config: Config) -> int:
    """Return the number of decoder blocks."""
    return int(_first(config, "num_hidden_layers", "n_layer"))


_MISSING = object()


def _first(config: Config, *keys: str, default: Any = _MISSING) -> Any:
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    if default is _MISSING:
        raise KeyError(keys[0])
    return default
