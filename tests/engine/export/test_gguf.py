"""A GGUF export answers in llama.cpp as the trained model does, and is not certified where it does not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.cli import main
from studio.engine.export.gguf import convert as converting
from studio.engine.export.gguf import cost, llama_cpp, make, vocabulary
from studio.engine.export.gguf.architectures import ARCHITECTURES
from studio.engine.export.gguf.convert import convert
from studio.engine.export.gguf.layout import quantise
from studio.engine.export.gguf.sizes import predict_sizes
from studio.engine.export.run import ExportResult, export_run
from studio.engine.export.verify import verify_export
from studio.errors import ExportError
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


@needs_llama_cpp
def test_a_quantised_file_says_what_it_costs_beside_f16(make_run: MakeRun) -> None:
    run = make_run("llama-untied")

    result = export_run(run, "gguf", "q8_0")

    assert failed(result) == []
    cost = check(result, "gguf_cost")
    assert cost.value > 2 * cost.evidence["kl_f16"] > 0
    assert "As f16, it would be" in cost.meaning


@needs_llama_cpp
def test_card_and_command_line_name_a_cost_that_is_not_small(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, words = make_run("llama-untied"), "q8_0 has a clear cost for this model"
    command = ["export", str(run.path), "--to", "gguf", "--dtype", "q8_0", "--out"]
    assert main([*command, str(tmp_path / "small")]) == 0
    assert f"The file is right. {words}" not in capsys.readouterr().err
    monkeypatch.setattr(cost, "WORST_KL", 0.0)

    assert main([*command, str(tmp_path / "clear")]) == 0

    assert f"The file is right. {words}" in capsys.readouterr().err
    assert f"every check passed. **{words}" in (tmp_path / "clear" / "README.md").read_text(encoding="utf-8")


@needs_llama_cpp
def test_a_quantised_file_with_other_weights_or_another_base_of_rotation_is_not_certified(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("llama-untied")
    monkeypatch.setattr(converting, "quantise", lambda values, kind: quantise(values * np.float32(1.5), kind))
    louder = export_run(run, "gguf", "q8_0")
    monkeypatch.undo()
    monkeypatch.setitem(ARCHITECTURES, "llama", dataclasses.replace(ARCHITECTURES["llama"], pairs=False))
    other_order = export_run(run, "gguf", "q8_0")

    monkeypatch.undo()
    written = make.written_logits
    monkeypatch.setattr(make, "written_logits", lambda *arguments: -written(*arguments))
    other_numbers = export_run(run, "gguf", "q8_0")

    assert [check.name for check in other_numbers.checks if not check.passed] == ["gguf_logits"]
    assert "gguf_weights" in {check.name for check in louder.checks if not check.passed}
    assert "gguf_logits" in {check.name for check in other_order.checks if not check.passed}


@needs_llama_cpp
def test_a_quantised_file_is_not_certified_where_its_f16_form_does_not_open(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "measure_saved", lambda *_: None)

    result = export_run(make_run("llama-untied"), "gguf", "q8_0")

    assert [check.name for check in result.checks if not check.passed] == ["gguf_logits"]
    assert "Saved as f16, the model does not open" in check(result, "gguf_logits").meaning


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


def test_the_size_of_a_baked_file_knows_its_own_output_layer_and_its_tokens(
    make_run: MakeRun, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "why_not", lambda: "There is no llama.cpp here.")
    baked = make_run("llama-tied", kind="chat", method={"name": "prompt-tuning", "virtual_tokens": 4})

    size = next(export_run(baked, "gguf", "f32").path.glob("*.gguf")).stat().st_size

    assert predict_sizes(bases["llama-tied"], 4)["f32"] == pytest.approx(size, rel=0.02)


@needs_llama_cpp
@pytest.mark.parametrize("dtype", ["f16", "q4_0"])
def test_a_file_is_verified_in_llama_cpp_again_and_not_once_a_byte_has_changed(make_run: MakeRun, dtype: str) -> None:
    result = export_run(make_run("llama-untied"), "gguf", dtype)

    again = verify_export(result.path)

    assert [check.name for check in again.checks if not check.passed] == []
    values = {check.name: check.value for check in again.checks}
    for name in ("gguf_tokens", "gguf_cost", "delta_present"):
        assert values[name] == pytest.approx(check(result, name).value, rel=1e-3)
    share = next(check.evidence["share"] for check in again.checks if check.name == "gguf_cost" and check.evidence)
    assert share == pytest.approx(check(result, "gguf_cost").evidence["share"], rel=1e-3)
    file = next(result.path.glob("*.gguf"))
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(data)
    assert not verify_export(result.path).passed


@needs_llama_cpp
def test_a_file_with_another_order_of_rows_or_another_template_fails(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these files opens in llama.cpp, and answers."""
    monkeypatch.setitem(ARCHITECTURES, "llama", dataclasses.replace(ARCHITECTURES["llama"], pairs=False))
    wrong_rows = export_run(make_run("llama-untied"), "gguf", "f32")
    monkeypatch.undo()
    monkeypatch.setattr(vocabulary, "read_template", lambda folder: "{{ messages[0].content }}")
    wrong_template = export_run(make_run("llama-untied"), "gguf", "f32")

    assert "gguf_logits" in {check.name for check in wrong_rows.checks if not check.passed}
    assert "gguf_template" in {check.name for check in wrong_template.checks if not check.passed}


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused_not_guessed(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bases["llama-tied"], folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    split = {"type": "Split", "pattern": {"Regex": "[A-Z]"}, "behavior": "Isolated", "invert": False}
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, state["pre_tokenizer"]]}
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")

    with pytest.raises(ExportError, match="no tokenizer that is known to cut text as this one does"):
        convert(folder, tmp_path / "model.gguf", "f16", "model")
