"""Searching the hub, and whether what is found can be trained here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from transformers import PreTrainedModel

from studio.engine.control import no_progress
from studio.engine.estimate.unseen import Outlook, outlooks
from studio.engine.hub import search as searching
from studio.engine.hub.api import HubError
from studio.engine.hub.repository import Found
from studio.engine.hub.search import search
from tests.hub import Fault, LocalHub, local_hub
from tests.tiny import llama

FACTS = {
    "own/chat-360M": {
        "downloads": 1234,
        "gated": "manual",
        "lastModified": "2026-03-04T05:06:07.000Z",
        "safetensors": {"parameters": {"BF16": 361_000_000, "F32": 1_000_000}, "total": 362_000_000},
        "tags": ["transformers", "license:apache-2.0", "en"],
    },
    "own/bare-chat": {},
    "other/thing": {"tags": []},
    "own/chat-rows": {"kind": "datasets", "downloads": 7, "tags": ["size_categories:10K<n<100K", "license:mit"]},
}


HUGE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16384,
    "num_hidden_layers": 126,
    "num_attention_heads": 128,
    "intermediate_size": 53248,
    "vocab_size": 128256,
}


@pytest.fixture
def tiny() -> PreTrainedModel:
    return llama()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: PreTrainedModel) -> Iterator[LocalHub]:
    config = json.loads(tiny.config.to_json_string()) | {"architectures": ["LlamaForCausalLM"]}
    configs = {
        "own/tiny": config,
        "own/huge": HUGE,
        "own/quantised": config | {"quantization_config": {"quant_method": "awq"}},
        "own/encoder": {"architectures": ["BertModel"], "model_type": "bert"},
        "own/program": HUGE | {"architectures": ["OwnForCausalLM"], "auto_map": {"AutoModel": "own.Own"}},
        "own/absurd": HUGE | {"num_hidden_layers": 10**9},
        "own/gated": config,
    }
    files = {name: {"config.json": json.dumps(one).encode()} for name, one in configs.items()}
    with local_hub(files | {"own/damaged": {"config.json": b"{"}}, tmp_path, monkeypatch) as found:
        found.facts.update(FACTS)
        found.gated.add("own/gated")
        yield found


def test_models_are_found_with_what_the_hub_says_of_them(hub: LocalHub) -> None:
    chat, bare = search("chat", "model", 10, no_progress)
    assert chat == Found(
        id="own/chat-360M",
        parameters=362_000_000,
        bytes=726_000_000,
        dtype="bf16",
        licence="apache-2.0",
        gated=True,
        downloads=1234,
        updated="2026-03-04",
    )
    assert bare == Found(id="own/bare-chat")
    asked = parse_qs(urlsplit(hub.requests[0]).query)
    assert (asked["search"], asked["pipeline_tag"], asked["filter"]) == (["chat"], ["text-generation"], ["safetensors"])


@pytest.mark.usefixtures("hub")
def test_datasets_are_found() -> None:
    (rows,) = search("chat", "dataset", 10, no_progress)
    assert rows == Found(id="own/chat-rows", rows="10K<n<100K", licence="mit", downloads=7)


def test_a_hub_that_refuses_or_never_answers_is_half_a_sentence(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults["models"] = [Fault("status", 403)]
    with pytest.raises(HubError, match="does not allow it"):
        search("chat", "model", 10, no_progress)
    monkeypatch.setattr(searching, "_SECONDS", 0.0)
    with pytest.raises(HubError, match="cannot be reached"):
        search("chat", "model", 10, no_progress)


def test_what_training_takes_is_told_from_config_json_alone(hub: LocalHub, tiny: PreTrainedModel) -> None:
    told: dict[str, Outlook] = {}
    names = (
        "own/tiny",
        "own/huge",
        "own/quantised",
        "own/encoder",
        "own/program",
        "own/absurd",
        "own/damaged",
        "own/gated",
    )
    outlooks([Found(id=name) for name in names], told.__setitem__, no_progress)
    assert (told["own/tiny"].fits, told["own/tiny"].method) == (True, "full")
    assert told["own/tiny"].parameters == sum(one.numel() for one in tiny.parameters())
    assert (told["own/huge"].fits, told["own/huge"].method) == (False, "lora")
    assert told["own/huge"].total_bytes > told["own/huge"].available_bytes
    problems = {name: told[name].problem for name in names[2:]}
    assert "own/quantised is stored quantised" in problems["own/quantised"]
    assert "own/encoder is not a causal language model" in problems["own/encoder"]
    assert "brings program code of its own" in problems["own/program"]
    assert "absurdly large" in problems["own/absurd"]
    assert "config.json of own/damaged is damaged" in told["own/damaged"].unknown
    assert f"is gated: accept its terms on {hub.address}/own/gated" in told["own/gated"].unknown
    assert {file for file, _ in hub.ranges} <= {"config.json"}
