"""A GGUF export answers in llama.cpp as the trained model does, and is not certified where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.convert import convert
from studio.engine.export.gguf.sizes import predict_sizes
from studio.engine.export.run import ExportResult, export_run
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]
needs_llama_cpp = pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")


def failed(result: ExportResult) -> list[str]:
    return [f"{check.name}: {check.meaning}" for check in result.checks if not check.passed]


def check(result: ExportResult, name: str) -> Any:
    return next(check for check in result.checks if check.name == name)


@needs_llama_cpp
@pytest.mark.parametrize(
    ("base", "kind", "method"),
    [
        ("llama-tied", "chat", {}),
        ("llama-untied", "base", {"name": "full"}),
        ("gpt2", "chat", {}),
        ("llama-leaning", "chat", {"name": "prompt-tuning", "virtual_tokens": 4}),
    ],
    ids=["merged", "full", "gpt2", "baked"],
)
def test_a_file_without_rounding_gives_the_trained_models_logits_in_llama_cpp(
    make_run: MakeRun, base: str, kind: str, method: dict[str, Any]
) -> None:
    run = make_run(base, kind=kind, method=method)

    result = export_run(run, "gguf", "f32")

    assert failed(result) == []
    assert check(result, "gguf_logits").value < (5e-3 if base == "gpt2" else 1e-4)  # GELU comes from a table of F16
    assert check(result, "delta_present").value == pytest.approx(1, abs=0.01)
    assert {file.name for file in result.path.iterdir()} == {"README.md", "certificate.json", f"{base}-F32.gguf"}


def test_a_quantised_file_says_what_it_costs_beside_f16(make_run: MakeRun) -> None:
    run = make_run("llama-untied")

    result = export_run(run, "gguf", "q8_0")

    assert failed(result) == []
    loss = check(result, "gguf_loss")
    assert loss.value > 2 * loss.evidence["kl_f16"] > 0
    assert "As f16, it would be" in loss.meaning


def test_a_file_that_was_never_opened_is_not_certified(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "why_not", lambda: "There is no llama.cpp here.")

    result = export_run(make_run(), "gguf", "f16")

    assert not result.passed
    assert failed(result) == ["gguf_loads: The file was written, but never opened: There is no llama.cpp here."]
    assert list(result.path.glob("*.gguf"))


@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0", "q4_0"])
def test_the_size_of_a_file_is_known_before_it_is_written(bases: dict[str, Path], dtype: str, tmp_path: Path) -> None:
    convert(bases["llama-tied"], tmp_path / "model.gguf", dtype, "llama-tied")

    assert predict_sizes(bases["llama-tied"])[dtype] == (tmp_path / "model.gguf").stat().st_size
