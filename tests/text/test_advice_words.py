"""Every code of the advice has words, and no words are left without a code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.config.model import ModelConfig
from studio.config.option import options
from studio.runner import advice
from studio.text.advice import ADVICE, MISFITS, REMEDIES, TEMPLATES, pick_text
from studio.ui.pages.setup import model_card


def test_words_and_codes_belong_together() -> None:
    source = Path(advice.__file__).read_text(encoding="utf-8") + Path(model_card.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'"(\w+)"', source)) | {
        f"{code}_{kind}" for code in ("behaves_like", "treat_as") for kind in ("base", "chat")
    }
    assert used >= {*ADVICE, *MISFITS, *REMEDIES}
    spec = next(spec for spec in options(ModelConfig) if spec.key == "chat_template")
    assert dict(spec.choices) == {"": "As it comes", **TEMPLATES}


@pytest.mark.parametrize(
    ("chat", "base"),
    [
        ("SmolLM2-135M-Instruct", "SmolLM2-135M"),
        ("Mistral-7B-Instruct-v0.3", "Mistral-7B-v0.3"),
        ("gemma-2-2b-it", "gemma-2-2b"),
        ("Qwen2.5-7B-Instruct", "Qwen2.5-7B"),
    ],
)
def test_families_name_their_models_so(chat: str, base: str) -> None:
    assert advice.base_name(chat) == base
    assert advice.chat_name(base) == chat


def test_a_model_that_is_called_base_has_a_chat_model_without_that() -> None:
    assert advice.chat_name("Qwen3-8B-Base") == "Qwen3-8B"
    assert advice.base_name("my-model") == ""
    assert pick_text("base", "") == "This model is a Chat model. Pick the Base model of its family."
