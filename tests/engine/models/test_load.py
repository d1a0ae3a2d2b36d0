from __future__ import annotations

import shutil
import socket
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.engine.models.load import load_model, load_tokenizer
from studio.errors import Cancelled, ModelError
from tests.engine.models.editing import edit_json, edit_weights, shard
from tests.tiny import gpt2, tokenizer

TOKENS = torch.arange(20).reshape(2, 10)


def test_a_loaded_model_computes_what_plain_transformers_computes(folder: Path) -> None:
    model = load_model(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.equal(model(TOKENS).logits, plain(TOKENS).logits)


def test_a_loaded_model_is_ready_to_be_trained_or_asked(folder: Path) -> None:
    model = load_model(folder)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    assert model.generation_config.eos_token_id == 2
    assert Path(model.name_or_path) == folder


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
def test_weights_come_in_the_format_asked_for(folder: Path, name: str, dtype: torch.dtype) -> None:
    assert {parameter.dtype for parameter in load_model(folder, name).parameters()} == {dtype}


def test_loading_asks_nothing_of_the_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_model(folder)
    load_tokenizer(folder)


def test_progress_counts_the_bytes_of_all_shards_and_ends_with_the_load(folder: Path) -> None:
    size = load_model(folder).num_parameters() * 4
    shard(folder)
    seen = []
    load_model(folder, "bf16", lambda *step: seen.append(step))
    assert {(stage, total) for stage, _, total in seen} == {("loading_model", size)}
    done = [done for _, done, _ in seen]
    assert done == sorted(set(done))
    assert (done[0], done[-1]) == (0, size)


def test_loading_can_be_cancelled_at_every_tensor(folder: Path) -> None:
    steps: list[int] = []
    load_model(folder, progress=lambda stage, done, total: steps.append(done))
    for last in steps:

        def cancel(stage: str, done: int, total: int, last: int = last) -> None:
            if done == last:
                raise Cancelled

        with pytest.raises(Cancelled):
            load_model(folder, progress=cancel)


def test_a_model_larger_than_the_memory_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(ModelError, match=r"GB of memory but 0\.0 GB are free"):
        load_model(folder)


def test_gpt2_loads_with_and_without_the_prefix_of_its_names(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with torch.no_grad():
        expected = load_model(tmp_path)(TOKENS).logits

        def strip(tensors: dict[str, torch.Tensor]) -> None:
            for name in list(tensors):
                tensors[name.removeprefix("transformer.")] = tensors.pop(name)

        edit_weights(tmp_path, strip)
        assert torch.equal(load_model(tmp_path)(TOKENS).logits, expected)


def test_a_wrong_shape_is_found_under_a_shortened_name(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)
    edit_weights(tmp_path, lambda t: t.update({"h.0.mlp.c_fc.bias": t.pop("transformer.h.0.mlp.c_fc.bias")[:-1]}))
    with pytest.raises(ModelError, match=r"should be \(128,\) but is \(127,\)"):
        load_model(tmp_path)


def test_the_tokenizer_file_is_taken_as_it_stands(folder: Path) -> None:
    """Without config.json to tell it otherwise, transformers would rebuild a GPT-2 tokenizer without digit splitting."""
    from tokenizers import Tokenizer, pre_tokenizers

    file = folder / "tokenizer.json"
    plain = Tokenizer.from_file(str(file))
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    plain.save(str(file))
    edit_json(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    shutil.move(folder / "config.json", folder.parent / "config.json")
    pieces = load_tokenizer(folder).backend_tokenizer.pre_tokenizer.pre_tokenize_str("12")
    assert [piece for piece, _ in pieces] == ["1", "2"]


def test_a_tokenizer_gives_no_segment_ids(folder: Path) -> None:
    assert set(load_tokenizer(folder)("a")) == {"input_ids", "attention_mask"}
