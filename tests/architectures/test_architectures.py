"""Announced, trained and saved parameters agree for architectures of every kind, and refusals come with a reason."""

from __future__ import annotations

import pytest

from tests.architectures.measure import measure

# Some of each kind; `python -m tests.architectures.table` tries all.
SAMPLE = [
    "llama",
    "gemma2",
    "gpt2",
    "falcon",
    "mpt",
    "opt-350m",
    "gemma3n_text",
    "qwen2_moe",
    "mixtral",
    "gpt_oss",
    "llama4_text",
    "mamba2",
    "jamba",
    "falcon_h1",
    "qwen3_5_text",
    "recurrent_gemma",
    "gemma3",
    "qwen2_5_vl",
]


@pytest.mark.filterwarnings("ignore")  # of architectures, about kernels that are not installed
@pytest.mark.parametrize("name", SAMPLE)
def test_every_method_works_on_an_architecture_or_says_beforehand_why_not(name: str) -> None:
    pytest.importorskip("bitsandbytes")
    found = measure(name)
    assert all(outcome in ("yes", "–") or outcome.endswith(".") for outcome in found.values())
    assert (found["LoRA"], found["full"], found["nf4"], found["merged"]) == ("yes",) * 4
