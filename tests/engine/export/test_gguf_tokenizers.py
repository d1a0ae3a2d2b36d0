"""llama.cpp splits text as the tokenizer of the model folder does, whatever kind that is; what it cannot is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from studio.engine.control import no_progress
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.convert import convert
from studio.engine.export.gguf.vocabulary import _GPT4O, _LLAMA3, _QWEN2, _TEKKEN, read_vocabulary
from studio.engine.export.prefix import SAMPLES
from studio.errors import ExportError
from tests.tiny import llama

TEXT = [
    *SAMPLES,
    "The quick brown fox jumps over the lazy dog, 1999 times; it's THE fox's 3rd try — don't you'll see?\n\n",
] * 4
ROWS = 700
SPECIAL = ["<unk>", "<s>", "</s>"]


def _byte_level(*steps: Any, ignore_merges: bool = False) -> Tokenizer:
    found = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    found.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(list(steps))
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator(TEXT, trainer)
    return found


def _split(pattern: str, *, ignore_merges: bool = False) -> Tokenizer:
    whole = pre_tokenizers.Split(Regex(pattern), "isolated")
    return _byte_level(whole, _BYTES, ignore_merges=ignore_merges)


_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
_GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)


def _sentencepiece(*, prepend: bool) -> Tokenizer:
    """As Llama 2's and Mistral's (`prepend`), or Gemma's."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepend else replace
    pieces = [*SPECIAL, *(f"<0x{number:02X}>" for number in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=650, special_tokens=pieces, show_progress=False)
    trained.train_from_iterator([text.replace("🇨🇳", "") for text in TEXT], trainer)
    state = json.loads(trained.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIAL]
    found = Tokenizer.from_str(json.dumps(state))
    bos = found.token_to_id("<s>")
    found.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return found


KINDS = {
    "gpt-2": lambda: _byte_level(_GPT2),
    "smollm": lambda: _byte_level(pre_tokenizers.Digits(individual_digits=True), _GPT2),
    "llama-bpe": lambda: _split(_LLAMA3, ignore_merges=True),
    "smaug-bpe": lambda: _split(_LLAMA3),
    "qwen2": lambda: _split(_QWEN2),
    "gpt-4o": lambda: _split(_GPT4O),
    "tekken": lambda: _split(_TEKKEN, ignore_merges=True),
    "llama-2": lambda: _sentencepiece(prepend=True),
    "gemma": lambda: _sentencepiece(prepend=False),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    found = llama()
    found.resize_token_embeddings(ROWS)
    found.save_pretrained(folder)
    return folder


@pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_split_as_the_tokenizer_does(model: Path, kind: str, tmp_path: Path) -> None:
    tokenizer = KINDS[kind]()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(model)
    convert(model, tmp_path / "file.gguf", "f16", "model")
    texts = [*SAMPLES, TEXT[-1], "</s>Hello", "  two  spaces", "tab\tand\r\nline"]

    said = llama_cpp.measure(
        {
            "path": str(tmp_path / "file.gguf"), "texts": texts, "bare": texts, "rows": [], "positions": [], "ends": [],
            "prompts": [], "limit": 1, "logits": str(tmp_path / "logits"),
        },
        no_progress,
    )  # fmt: skip

    assert read_vocabulary(model, ROWS).pre == (kind if kind not in ("llama-2", "gemma") else "default")
    assert said["tokens"] == [tokenizer.encode(text).ids for text in texts]
    assert said["bare"] == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def test_a_tokenizer_that_puts_its_own_tokens_in_front_is_refused(model: Path) -> None:
    tokenizer = _byte_level(_GPT2)
    pair = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "<unk>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> <unk> $A", special_tokens=pair)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(model)

    with pytest.raises(ExportError, match="puts tokens in front of every text"):
        read_vocabulary(model, ROWS)
