"""The tiny model of the overflow laboratory: made on demand from a seed, in the ordinary layout, without a download.

A transformer's norms undo the size of the numbers that flow between its layers. So these may be made large in the
weights without any change of what the model computes, in the range of fp32; only the gradients between the layers are
as much smaller (they underflow in fp16), and what the layers write is larger (it overflows in fp16).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.quiet import quiet_transformers
from studio.home import home

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SEED = 0
# Wide enough to learn letters and short words within 32 updates, small enough for a second or two an experiment.
SHAPE: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
}
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def laboratory_folder() -> Path:
    """Return where models and configurations of the laboratory are kept; it need not exist yet."""
    return home() / "laboratory"


def make_model(stream: float) -> Path:
    """Return the folder of the tiny model, made if it is not there.

    Args:
        stream: how many times as large as usual the numbers between the layers are.
    """
    folder = laboratory_folder() / f"tiny-{stream:g}"
    if folder.is_dir():
        return folder
    half_made = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(half_made, ignore_errors=True)
    with quiet_transformers():
        _model(stream).save_pretrained(half_made)
    _tokenizer().save_pretrained(half_made)
    if folder.is_dir():  # made by another process meanwhile, from the same seed
        shutil.rmtree(half_made)
    else:
        half_made.rename(folder)
    return folder


def _model(stream: float) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(LlamaConfig(bos_token_id=0, eos_token_id=2, pad_token_id=0, **SHAPE))
        model.model.embed_tokens.weight.mul_(stream)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(stream)
            layer.mlp.down_proj.weight.mul_(stream)
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and ChatML's special tokens: 259 ids, no merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytewise = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens(list(SPECIALS))
    end, start, stop = SPECIALS
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, bos_token=end, eos_token=stop, pad_token=end)
    tokenizer.add_special_tokens({"extra_special_tokens": [start]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
