"""The files that an export has of its base: the same bytes, readable by transformers 4 as by transformers 5."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.export.run import export_run
from tests.engine.export.conftest import MakeRun, _llama, _tokenizer

OLDER = ("transformers==4.57.6", "tokenizers==0.22.2", "huggingface_hub==0.36.2")
TEXT = "What is 7 plus 7? It is 14."
# Opens each export with another version of transformers; answers with its version, the losses, and what it complained.
PROBE = """
import json, sys, warnings, torch, transformers
heard = []
warnings.showwarning = lambda message, *rest, **more: heard.append(str(message))
transformers.utils.logging.get_logger("transformers").warning = lambda message, *rest, **more: heard.append(str(message))
losses = {}
for folder in sys.argv[2:]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(sys.argv[1], return_tensors="pt").input_ids
    with torch.no_grad():
        losses[folder] = model(input_ids=ids, labels=ids).loss.item()
print(json.dumps({"version": transformers.__version__, "losses": losses, "heard": heard}))
"""


def _scaled(vocabulary: int) -> Any:
    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0}
    return _llama(
        vocabulary,
        tie_word_embeddings=True,
        rope_parameters=rope | {"high_freq_factor": 4.0, "original_max_position_embeddings": 128},
    )


SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip


def _mistral(vocabulary: int) -> Any:
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0}
    return MistralForCausalLM(MistralConfig(vocab_size=vocabulary, rope_parameters=rope, **SHAPE))


def _gemma2(vocabulary: int) -> Any:
    return Gemma2ForCausalLM(Gemma2Config(vocab_size=vocabulary, head_dim=8, **SHAPE))


MODELS = {"llama": _scaled, "mistral": _mistral, "gemma2": _gemma2}


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with transformers 4, which lies in front of the one that is installed."""
    folder = tmp_path_factory.mktemp("older")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *OLDER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip("transformers 4.57.6 cannot be fetched from the package index here")
    return folder


def test_exports_open_in_transformers_4_with_the_same_loss_and_no_complaint(
    older: Path, make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    folders = [export_run(make_run("gpt2"), "merged").path]
    folders.append(
        export_run(make_run("llama-tied", method={"name": "prompt-tuning", "virtual_tokens": 4}), "baked").path
    )
    for name, make in MODELS.items():
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        make(len(tokenizer)).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        folders.append(export_run(make_run(tmp_path / name), "merged").path)

    now, before = (_open(folders, place) for place in ("", str(older)))

    assert before["version"] == "4.57.6"
    assert before["losses"] == pytest.approx(now["losses"], abs=1e-4)
    assert len(set(now["losses"].values())) == len(folders)
    assert before["heard"] == []


def _open(folders: list[Path], place: str) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": place, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROBE, TEXT, *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("target", ["merged", "adapter"])
def test_tokenizer_files_are_the_bases_own_byte_for_byte(
    target: str, make_run: MakeRun, bases: dict[str, Path]
) -> None:
    base = bases["llama-untied"]
    config = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    export = export_run(make_run("llama-untied"), target).path

    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (export / name).read_bytes() == (base / name).read_bytes()
    exported = json.loads((export / "tokenizer_config.json").read_text(encoding="utf-8"))
    older_names = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": config["extra_special_tokens"],
    }
    assert exported == {key: value for key, value in config.items() if key != "extra_special_tokens"} | older_names


def test_a_prefix_only_adds_its_tokens_to_the_bases_tokenizer(make_run: MakeRun, bases: dict[str, Path]) -> None:
    base = json.loads((bases["llama-tied"] / "tokenizer.json").read_text(encoding="utf-8"))
    run = make_run("llama-tied", kind="chat", method={"name": "prompt-tuning", "virtual_tokens": 4})

    exported = json.loads((export_run(run, "baked").path / "tokenizer.json").read_text(encoding="utf-8"))

    added = exported["added_tokens"][len(base["added_tokens"]) :]
    assert len(added) == 4
    assert exported | {"added_tokens": exported["added_tokens"][:-4]} == base


def test_a_gguf_vocabulary_has_the_special_tokens_that_only_special_tokens_map_names(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Older bases name them there alone, and the export keeps their files; BOS in front of a text was refused then."""
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.save(str(base / "tokenizer.json"))
    config = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {name: config.pop(name) for name in ("eos_token", "pad_token")} | {"bos_token": "<|im_start|>"}
    (base / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (base / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")

    result = export_run(make_run(base), "merged")
    vocabulary = read_vocabulary(result.path, tokenizer.get_vocab_size())

    assert result.passed
    assert vocabulary.add_bos
    assert {name: vocabulary.special[name] for name in ("bos", "eos", "pad")} == {"bos": 1, "eos": 0, "pad": 0}
