"""Chat templates that ship, installed in the tokenizer of a Base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from studio.config import ModelConfig
from studio.config.model import ShippedTemplate
from studio.engine.data.formats.values import Message, conversation
from studio.engine.data.render import Renderer
from studio.engine.models.chat_templates import install_template
from studio.engine.models.info import ModelInfo, TemplateOffer, as_configured
from studio.engine.models.inspect import inspect_model
from studio.errors import ModelError
from tests.tiny import llama
from tests.tiny import tokenizer as tiny_tokenizer

TURNS = [("system", "Be brief."), ("user", "Hello?"), ("assistant", "Yes."), ("user", "And?"), ("assistant", "No.")]


def base_tokenizer() -> PreTrainedTokenizerFast:
    """ChatML's tokens are there, but no template, and a text ends otherwise."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.eos_token = "<|endoftext|>"
    return tokenizer


def talk() -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in TURNS]


@pytest.mark.parametrize(("name", "end"), [("chatml", "<|im_end|>"), ("headings", "<|endoftext|>")])
def test_what_is_taught_is_what_the_library_renders(name: ShippedTemplate, end: str) -> None:
    tokenizer = base_tokenizer()
    install_template(tokenizer, name)
    (row,) = Renderer(tokenizer, "chat").encode(conversation([Message(*turn) for turn in TURNS]))
    assert row.input_ids == tokenizer.apply_chat_template(talk(), return_dict=False)
    assert [text for text, learnt in row.segments if learnt] == [f"Yes.{end}", f"No.{end}"]
    assert tokenizer.eos_token == end


def test_headings_are_what_a_base_model_sees_without_a_template() -> None:
    tokenizer = base_tokenizer()
    example = conversation([Message(*turn) for turn in TURNS])
    (plain,) = Renderer(tokenizer, "base").encode(example)
    asked = Renderer(tokenizer, "base").prompt(talk()[:2])
    install_template(tokenizer, "headings")
    (row,) = Renderer(tokenizer, "chat").encode(example)
    assert (row.input_ids, row.supervised) == (plain.input_ids, plain.supervised)
    assert tokenizer.apply_chat_template(talk()[:2], add_generation_prompt=True, return_dict=False) == asked


def test_a_template_whose_tokens_are_missing_is_refused_by_name() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_plain(), eos_token="</s>")
    with pytest.raises(ModelError, match=r"does not know <\|im_start\|>, <\|im_end\|>; take headings"):
        install_template(tokenizer, "chatml")
    install_template(tokenizer, "headings")
    assert len(tokenizer) == 2


def test_what_the_tokenizer_puts_before_a_text_the_template_writes_once() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = base_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    install_template(tokenizer, "headings")
    ids = tokenizer.apply_chat_template(talk(), return_dict=False)
    assert ids[:2] == [1, tokenizer("#", add_special_tokens=False)["input_ids"][0]]


def _plain() -> object:
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="a"))
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


def saved_base(folder: Path, change: Callable[[torch.Tensor], None]) -> ModelInfo:
    """A Base model whose embedding was changed by `change`."""
    model = llama()
    with torch.no_grad():
        change(model.get_input_embeddings().weight)
    model.save_pretrained(folder)
    base_tokenizer().save_pretrained(folder)
    return inspect_model(folder)


def test_chatml_is_recommended_where_the_model_knows_its_tokens(tmp_path: Path) -> None:
    info = saved_base(tmp_path, lambda weight: None)
    assert info.offers == (TemplateOffer("chatml"), TemplateOffer("headings"))
    assert info.recommended_template == "chatml"


@pytest.mark.parametrize("change", ["zero", "equal"])
def test_tokens_that_were_never_taught_are_named_and_another_template_is_recommended(
    tmp_path: Path, change: str
) -> None:
    def spoil(weight: torch.Tensor) -> None:
        weight[1:3] = 0.0 if change == "zero" else weight[5]

    info = saved_base(tmp_path, spoil)
    assert info.offers[0].untaught == ("<|im_start|>", "<|im_end|>")
    assert info.recommended_template == "headings"


def test_a_model_is_treated_as_the_configuration_says(tmp_path: Path) -> None:
    info = saved_base(tmp_path, lambda weight: None)
    assert (info.kind, info.has_template) == ("base", False)
    installed = as_configured(info, ModelConfig(path="m", chat_template="headings"))
    assert (installed.kind, installed.has_template, installed.chat_template) == ("chat", True, "headings")
    assert as_configured(replace(info, has_template=True), ModelConfig(path="m", kind="chat")).kind == "chat"
    assert as_configured(info, ModelConfig(path="m")) == info


def test_a_kind_that_the_template_cannot_serve_is_refused(tmp_path: Path) -> None:
    info = saved_base(tmp_path, lambda weight: None)
    with pytest.raises(ModelError, match="cannot be trained as a Chat model: it has no chat template that works"):
        as_configured(info, ModelConfig(path="m", kind="chat"))
