"""Trying a model: it ends its turn or not, it goes on with text or not, and the words for what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.engine.inference.behaviour import _CODES, Behaviour, Manner, Tried
from studio.engine.inference.try_model import LIMIT, try_model
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.errors import Cancelled
from studio.text.behaviour import WORDS
from tests.tiny import llama, save_model, tokenizer


def model_that_says(folder: Path, token: int, *, template: bool = True, end: str = "<|im_end|>") -> ModelInfo:
    """A model whose likeliest next token is always the same one."""
    model = llama(tied=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(float("norm" in name or "embed" in name))
        model.get_output_embeddings().weight[token] = 1.0
    words = tokenizer()
    model.config.eos_token_id = model.generation_config.eos_token_id = words.convert_tokens_to_ids(end)
    model.save_pretrained(folder)
    words.chat_template = words.chat_template if template else None
    words.eos_token = end
    words.save_pretrained(folder)
    return inspect_model(folder)


def test_a_model_that_ends_its_turn_behaves_like_a_chat_model(tmp_path: Path) -> None:
    end = tokenizer().convert_tokens_to_ids("<|im_end|>")
    found = try_model(model_that_says(tmp_path, end), device="cpu")
    assert found.like == "chat"
    assert [finding.code for finding in found.findings] == ["ends_its_turn", "ends_texts"]
    assert {(tried.tokens, tried.ended, tried.text) for tried in found.tried} == {(1, True, "")}


def test_the_end_that_only_the_template_writes_is_an_end(tmp_path: Path) -> None:
    end = tokenizer().convert_tokens_to_ids("<|im_end|>")
    info = model_that_says(tmp_path, end, end="<|endoftext|>")
    assert info.kind == "base"
    found = try_model(info, device="cpu")
    assert (found.like, found.tried[0].tokens) == ("chat", 1)


def test_a_model_that_goes_on_is_cut_off_and_behaves_like_a_base_model(tmp_path: Path) -> None:
    letter = tokenizer().convert_tokens_to_ids("a")
    found = try_model(model_that_says(tmp_path, letter), device="cpu")
    assert found.like == "base"
    assert [finding.code for finding in found.findings] == ["never_ends_its_turn", "continues_text"]
    assert {(tried.tokens, tried.text) for tried in found.tried} == {(LIMIT, LIMIT * "a")}


def test_without_a_template_questions_are_plain_text(tmp_path: Path) -> None:
    letter = tokenizer().convert_tokens_to_ids("a")
    found = try_model(model_that_says(tmp_path, letter, template=False), device="cpu")
    assert [finding.code for finding in found.findings] == ["goes_on_after_plain_answers", "continues_text"]


def test_every_try_gives_the_same_and_draws_no_random_number(tmp_path: Path) -> None:
    info = inspect_model(save_model(tmp_path))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = try_model(info, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert try_model(info, device="cpu") == first


def test_trying_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def cancel_in_the_third_answer(stage: str, done: int, total: int) -> None:
        if stage == "trying":
            seen.append((stage, done, total))
            if done > 2 * LIMIT:
                raise Cancelled("Cancelled.")

    info = model_that_says(tmp_path, tokenizer().convert_tokens_to_ids("a"))
    with pytest.raises(Cancelled):
        try_model(info, cancel_in_the_third_answer, device="cpu")
    assert seen[-1] == ("trying", 2 * LIMIT + 1, 4 * LIMIT)


def tried(manner: Manner, ended: bool) -> Tried:
    return Tried(manner=manner, prompt="?", text="", tokens=1, ended=ended)


def test_a_model_that_ends_only_some_answers_is_like_neither_kind() -> None:
    found = Behaviour((tried("template", ended=True), tried("template", ended=False)), limit=48)
    assert found.like is None
    (finding,) = found.findings
    assert finding.words() == (
        "Tried: asked 2 questions through its template, it ended 1 answers by itself within 48 tokens."
    )


def test_every_code_has_words_and_no_words_are_left_over() -> None:
    assert {code for codes in _CODES.values() for code in codes.values()} == set(WORDS)
