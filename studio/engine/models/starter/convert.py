"""From the starter's GGUF file to an ordinary Hugging Face folder, exactly, and without torch.

The weights are written as fp32. The file stores them as Q4_1, and what that stands for needs up to 17 bits a
number: rounding to bf16 moves 79 % of the weights and logits by up to 0.29 (measured; fp16: 0.04), which a
reference model should not. 538 MB is the price. Layouts: GGUF specification; Llama's in llama.cpp.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.control import Progress

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader

_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3  # GGUF's token type of special tokens


def convert_gguf(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write the Llama model in `gguf`, its tokenizer, template and generation settings into `folder`."""
    from gguf import GGUFReader

    progress("loading_model", 0, 0)
    reader = GGUFReader(gguf)
    _write_weights(reader, folder / "model.safetensors", progress)
    _write_tokenizer(reader, folder / "tokenizer.json")
    _write_json(folder / "config.json", _config(reader))
    _write_json(folder / "generation_config.json", _token_ids(reader))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(reader))


def _write_weights(reader: GGUFReader, path: Path, progress: Progress) -> None:
    from gguf import dequantize
    from safetensors.numpy import save_file

    heads = {
        "attn_q": _field(reader, "llama.attention.head_count"),
        "attn_k": _field(reader, "llama.attention.head_count_kv"),
    }
    weights = {}
    done, total = 0, sum(int(tensor.n_bytes) for tensor in reader.tensors)
    for tensor in reader.tensors:
        progress("loading_model", done, total)
        done += int(tensor.n_bytes)
        values = dequantize(tensor.data, tensor.tensor_type).astype("float32", copy=False)
        kind = tensor.name.split(".")[-2]
        weights[_name(tensor.name)] = _unpermuted(values, heads[kind]) if kind in heads else values
    progress("saving", 0, 0)
    save_file(weights, path, metadata={"format": "pt"})


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight` in Hugging Face layout."""
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    module = f"model.layers.{layer[1]}.{_IN_LAYER[layer[2]]}" if layer else _OUTSIDE[name.removesuffix(".weight")]
    return f"{module}.weight"


def _unpermuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's order of the rotary rows: there pairs lie side by side, here the two halves of a head."""
    import numpy as np

    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def _write_tokenizer(reader: GGUFReader, path: Path) -> None:
    """Byte-level BPE that splits every digit: llama.cpp's pre-tokenizer `smollm`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = _field(reader, "tokenizer.ggml.token_type")
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(path))


def _config(reader: GGUFReader) -> dict[str, Any]:
    llama = {key: _field(reader, f"llama.{key}") for key in _LLAMA.values()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{name: llama[key] for name, key in _LLAMA.items()},
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "rope_theta": _field(reader, "llama.rope.freq_base"),
        "tie_word_embeddings": True,
        "dtype": "float32",
        "use_cache": True,
        **_token_ids(reader),
    }


_LLAMA = {
    "vocab_size": "vocab_size",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "rope.dimension_count",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}


def _token_ids(reader: GGUFReader) -> dict[str, int]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{short}_token_id": _field(reader, f"tokenizer.ggml.{long}_token_id") for short, long in names.items()}


def _tokenizer_config(reader: GGUFReader) -> dict[str, Any]:
    tokens = _field(reader, "tokenizer.ggml.tokens")
    special = {key.removesuffix("_id"): tokens[number] for key, number in _token_ids(reader).items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "unk_token": tokens[_field(reader, "tokenizer.ggml.unknown_token_id")],
        "chat_template": _field(reader, "tokenizer.chat_template"),
        "model_max_length": _field(reader, "llama.context_length"),
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _field(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
