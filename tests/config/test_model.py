"""What people paste for a model becomes its id or its path."""

from __future__ import annotations

import pytest

from studio.config import ModelConfig, parse_config
from studio.config.model import plain_model
from studio.errors import ConfigError


@pytest.mark.parametrize(
    "pasted",
    [
        "https://huggingface.co/owner/Name-7B.v1",
        "http://www.huggingface.co/owner/Name-7B.v1/",
        "huggingface.co/owner/Name-7B.v1",
        "https://hf.co/owner/Name-7B.v1?library=transformers",
        "https://huggingface.co/owner/Name-7B.v1/tree/main",
        "https://huggingface.co/owner/Name-7B.v1/blob/main/config.json",
        "https://huggingface.co/owner/Name-7B.v1/resolve/main/model.safetensors?download=true",
        "https://huggingface.co/owner/Name-7B.v1.git",
        "https://huggingface.co/owner/Name-7B.v1#model-card",
        "https://HuggingFace.co/owner/Name-7B.v1",
        "https://hf-mirror.com/owner/Name-7B.v1",
        ' "https://huggingface.co/owner/Name-7B.v1" ',
        "<https://huggingface.co/owner/Name-7B.v1>",
        "\ufeffowner/Name-7B.v1\u00a0",
        "'owner/Name-7B.v1'",
    ],
)
def test_a_pasted_address_is_the_id_of_the_model(pasted: str) -> None:
    assert plain_model(pasted) == "owner/Name-7B.v1"
    tables = {"model": {"path": pasted}, "data": {"sources": [{"path": "a.jsonl"}]}}
    assert parse_config(tables).model.path == "owner/Name-7B.v1"


def test_a_model_without_an_owner_has_a_page_too() -> None:
    assert plain_model("https://huggingface.co/gpt2/tree/main") == "gpt2"


def test_the_pages_of_a_mirror_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain_model("https://hub.example.org/owner/name") == "https://hub.example.org/owner/name"
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org")
    assert plain_model("https://hub.example.org/owner/name") == "owner/name"


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/owner/name",
        "https://huggingface.co/spaces/owner/name",
        "https://huggingface.co/papers/2305.14314",
        "https://huggingface.co/docs/transformers",
        "https://huggingface.co/owner/name/tree/v2",
        "https://huggingface.co/",
        "https://example.com/owner/name",
        "/home/me/models/name",
        "C:\\models\\name",
        "models/owner/name",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert plain_model(text) == text
    assert plain_model(f'"{text}"') == text


def test_a_template_for_dialogue_on_a_model_that_reads_plain_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.chat_template = chatml .* model.kind = base"):
        ModelConfig(path="a", kind="base", chat_template="chatml")
