"""The page on architectures is true: announced, trained and saved parameters agree, and refusals come with a reason."""

from __future__ import annotations

import pytest

from tests.architectures.measure import measure
from tests.architectures.table import row_of

# One of each kind; the script that writes the page tries all.
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
def test_what_the_page_says_of_an_architecture_is_so(name: str) -> None:
    pytest.importorskip("bitsandbytes")
    assert list(measure(name).values()) == row_of(name)
