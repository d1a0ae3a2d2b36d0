"""Tokenizers that put a space before each piece of text: the tokens give back the text, wherever it is cut."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from studio.engine.data.encoder import CHANGED, UNKNOWN, Encoding
from studio.engine.data.formats.base import Example, Message, Piece
from studio.engine.data.formats.values import conversation
from studio.engine.data.render import Renderer
from tests.engine.data.conftest import CORPUS

Style = Literal["legacy", "always", "first", "unigram"]
STYLES: tuple[Style, ...] = ("legacy", "always", "first", "unigram")
SPECIAL = ("<unk>", "<s>", "</s>")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)


def make(style: Style) -> PreTrainedTokenizerFast:
    """A tokenizer in the manner of Llama 2: "▁" stands for a space and is put before a text or each of its pieces."""
    if style == "unigram":
        letters = sorted({letter for text in CORPUS for letter in text.replace(" ", "▁")} | set("▁[]/INSTbdx:<>s\n|"))
        pieces = [*((name, 0.0) for name in SPECIAL), ("▁hello", -1.0), ("▁wor", -2.0), ("▁world", -1.0)]
        backend = Tokenizer(models.Unigram([*pieces, *((letter, -6.0) for letter in letters)], unk_id=0))
    else:
        vocabulary = {name: number for number, name in enumerate(SPECIAL)}
        merges = [("l", "d"), ("w", "o"), ("wo", "r"), ("wor", "ld"), ("▁", "world"), ("▁", "ld"), ("▁", "wor")]
        bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
        letters = list("▁abcdefghijklmnopqrstuvwxyz:[]/INST")
        for name in (*bytes_, *letters, *("".join(pair) for pair in merges)):
            vocabulary.setdefault(name, len(vocabulary))
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    if style == "legacy":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        scheme = "first" if style == "first" else "always"
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=style == "unigram")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def pair(prompt: str, completion: str) -> Example:
    return Example((Piece(prompt, learnt=False), Piece(completion, learnt=True)))


def decoded(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    """What the tokens spell, with one space fewer at the beginning, which the tokenizer put there."""
    return "".join(tokenizer.convert_ids_to_tokens(ids)).replace("▁", " ").replace("<0x0A>", "\n").removeprefix(" ")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("wor", "ld"),
        ("hello wor", "ld"),
        ("hello: ", "world"),
        ("hello ", "  world"),
        ("hel", "lo world"),
        ("a\n", "\nb"),
    ],
)
def test_a_cut_inside_a_word_adds_no_space(style: Style, prompt: str, completion: str) -> None:
    tokenizer = make(style)
    (row,) = Renderer(tokenizer, "base").encode(pair(prompt, completion))
    begin = row.supervised.index(True)
    assert decoded(tokenizer, row.input_ids) == f"{prompt}{completion}</s>"
    assert row.input_ids[:begin] == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    learnt = "".join(tokenizer.convert_ids_to_tokens(row.input_ids[begin:]))
    assert learnt.replace("▁", " ").replace("<0x0A>", "\n") == f"{completion}</s>"
    assert row.notes == ()


@pytest.mark.parametrize("style", STYLES)
def test_words_cut_anywhere_come_back_as_they_were(style: Style) -> None:
    tokenizer, source = make(style), random.Random(0)
    renderer = Renderer(tokenizer, "base")
    for _ in range(100):
        text = "".join(source.choices(["hello", "world", "wor", "ld", " ", "a", ":"], k=6))
        place = source.randint(0, len(text) - 1)
        (row,) = renderer.encode(pair("a" + text[:place], text[place:]))
        assert decoded(tokenizer, row.input_ids) == f"a{text}</s>"
        assert CHANGED not in row.notes


@pytest.mark.parametrize("style", STYLES)
def test_a_conversation_has_the_library_s_tokens_and_comes_back(style: Style) -> None:
    tokenizer = make(style)
    turns = [Message(role, text) for role, text in (("user", "hello"), ("assistant", "world"))] * 2
    (row,) = Renderer(tokenizer, "chat").encode(conversation(turns))
    asked = [{"role": turn.role, "content": turn.content} for turn in turns]
    assert row.input_ids == tokenizer.apply_chat_template(asked, return_dict=False)
    assert row.notes == ()


def noted(tokenizer: Any, text: str) -> Encoding:
    (row,) = Renderer(tokenizer, "base").encode(Example((Piece(text, learnt=True),)))
    return row


def test_characters_that_the_vocabulary_lacks_are_named() -> None:
    tokenizer = make("unigram")
    assert UNKNOWN in noted(tokenizer, "hello ☃").notes
    assert noted(tokenizer, "hello world").notes == ()


def test_characters_that_are_dropped_without_a_trace_are_named() -> None:
    letters = {letter: number for number, letter in enumerate("helo wrd")}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    row = noted(tokenizer, "hello ☃ world")
    assert tokenizer.decode(row.input_ids) == "hello  world"
    assert row.notes == (UNKNOWN,)


def test_text_that_the_tokenizer_changes_is_named() -> None:
    tokenizer = make("legacy")
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(" ", "▁")]
    )
    assert noted(tokenizer, "Hello World").notes == (CHANGED,)
