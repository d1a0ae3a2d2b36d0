"""The user's own prompt template for Base models: what the model sees of a row, and what it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data.formats import FORMATS
from studio.engine.data.formats.base import Example, Message
from studio.engine.data.formats.values import conversation
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.render import Renderer

TEMPLATE = "### Instruction:\n{question}\n\n### Response:\n{answer}"


def rendered(tokenizer: PreTrainedTokenizerFast, template: str, example: Example) -> tuple[str, str]:
    """The whole text of the tokens, and the text of those that are learnt."""
    (row,) = Renderer(tokenizer, "base", prompt_template=template).encode(example)
    learnt = [token for token, keep in zip(row.input_ids, row.supervised, strict=True) if keep]
    return tokenizer.decode(row.input_ids), tokenizer.decode(learnt)


def exchange(question: str, answer: str, system: str = "") -> Example:
    opening = [Message("system", system)] if system else []
    return conversation([*opening, Message("user", question), Message("assistant", answer)])


def test_answer_and_end_token_are_learnt_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    assert rendered(tokenizer, TEMPLATE, exchange("What is LoRA?", "A method.")) == (
        "### Instruction:\nWhat is LoRA?\n\n### Response:\nA method.<|im_end|>",
        "A method.<|im_end|>",
    )


@pytest.mark.parametrize(
    "template",
    [
        "{question} {answer}",
        "Q: {question}\r\n\tA:  {answer}",
        " {question}\u00a0→{answer}",
        '{"q": "{question}"}\n{answer}',
    ],
)
def test_spaces_and_line_ends_stay_as_they_are(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    whole, learnt = rendered(tokenizer, template, exchange(" two  spaces ", " 42 "))
    assert whole == template.replace("{question}", " two  spaces ").replace("{answer}", " 42 ") + "<|im_end|>"
    assert learnt == " 42 <|im_end|>"


def test_a_row_s_own_braces_are_text(tokenizer: PreTrainedTokenizerFast) -> None:
    whole, learnt = rendered(tokenizer, TEMPLATE, exchange("Say {answer} or {question}", "{question}"))
    assert whole == "### Instruction:\nSay {answer} or {question}\n\n### Response:\n{question}<|im_end|>"
    assert learnt == "{question}<|im_end|>"
    example = exchange("{system}", "2", system="{question}")
    assert rendered(tokenizer, "{system}|{question}|{answer}", example)[0] == "{question}|{system}|2<|im_end|>"
    assert rendered(tokenizer, "{question}|{system}|{answer}", example)[0] == "{system}|{question}|2<|im_end|>"


def test_a_longer_conversation_repeats_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
    assert rendered(tokenizer, "Q: {question}\nA: {answer}", conversation(turns)) == (
        "Q: a\nA: b<|im_end|>\n\nQ: c\nA: d<|im_end|>",
        "b<|im_end|>d<|im_end|>",
    )


def test_an_answer_that_is_not_to_be_learnt_is_read_and_ended(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [Message("user", "a"), Message("assistant", "b", learnt=False)]
    turns += [Message("user", "c"), Message("assistant", "d")]
    assert rendered(tokenizer, "Q: {question}\nA: {answer}", conversation(turns)) == (
        "Q: a\nA: b<|im_end|>\n\nQ: c\nA: d<|im_end|>",
        "d<|im_end|>",
    )


@pytest.mark.parametrize(
    ("template", "whole"),
    [
        ("{question}={answer}", "Be brief.\n\n1+1=2<|im_end|>"),
        ("[{system}] {question}={answer}", "[Be brief.] 1+1=2<|im_end|>"),
    ],
)
def test_the_system_text_has_its_place_or_stands_before_the_question(
    tokenizer: PreTrainedTokenizerFast, template: str, whole: str
) -> None:
    assert rendered(tokenizer, template, exchange("1+1", "2", system="Be brief."))[0] == whole


def test_text_that_is_no_exchange_keeps_its_form(tokenizer: PreTrainedTokenizerFast) -> None:
    chosen = FORMATS.get("text")
    example = chosen.read({"text": "Once upon a time."}, chosen.columns(("text",), {}))
    assert rendered(tokenizer, TEMPLATE, example)[0] == "Once upon a time.<|im_end|>"


def test_a_question_is_asked_as_it_was_taught(tokenizer: PreTrainedTokenizerFast) -> None:
    renderer = Renderer(tokenizer, "base", prompt_template=TEMPLATE)
    (row,) = renderer.encode(exchange("What is LoRA?", "A method."))
    asked = renderer.prompt([{"role": "user", "content": "What is LoRA?"}])
    assert asked == row.input_ids[: row.supervised.index(True)]


def test_a_chat_model_has_its_own_template(tokenizer: PreTrainedTokenizerFast) -> None:
    example = exchange("What is LoRA?", "A method.")
    own = Renderer(tokenizer, "chat")
    other = Renderer(tokenizer, "chat", prompt_template=TEMPLATE)
    assert other.encode(example) == own.encode(example)
    assert other.fingerprint == own.fingerprint


def test_preview_and_training_give_the_same_tokens(
    tokenizer: PreTrainedTokenizerFast, jsonl: Callable[..., str], tmp_path: Path
) -> None:
    source = DataSource(path=jsonl([{"prompt": "1+1", "completion": "2"}, {"prompt": "2+2", "completion": "4"}]))
    config = DataConfig(sources=(source,), validation_fraction=0.0, prompt_template="{question} = {answer}")
    data = prepare_data(config, tokenizer, "base", seed=0)
    shown = inspect_data(source, tokenizer, "base", prompt_template="{question} = {answer}")
    assert tokenizer.decode(data.train[0].input_ids) == "1+1 = 2<|im_end|>"
    assert shown.rendered[0].segments == (("1+1 = ", False), ("2<|im_end|>", True))
