"""A model that does not fit into memory is exported part by part: the same files, the same measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studio.engine.export import memory
from studio.engine.export.run import ExportResult, export_run
from studio.engine.export.targets import merged
from studio.engine.export.verify import verify_export
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def by_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Return a switch: whether exports are made part by part."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(memory, "needs_parts", lambda source, target: on)

    return switch


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


def weights_of(result: ExportResult) -> dict[str, bytes]:
    names = ["*.safetensors", "config.json", "*.index.json", "generation_config.json", "tokenizer.json", "LICENSE"]
    return {file.name: file.read_bytes() for name in names for file in result.path.glob(name)}


def alike(parts: ExportResult, whole: ExportResult) -> None:
    assert failed(parts) == failed(whole) == {}
    assert weights_of(parts) == weights_of(whole)
    expected = {check.name: check for check in whole.checks if check.name != "stops_by_itself"}
    found = {check.name: check for check in parts.checks if check.name != "stops_by_itself"}
    assert list(found) == list(expected)
    for name, check in found.items():
        assert check.value == pytest.approx(expected[name].value, abs=1e-5), name
        assert check.limit == pytest.approx(expected[name].limit, abs=2e-5), name


CASES = [
    ("llama-tied", {}, "auto", "bf16"),
    ("llama-untied", {"dora": True}, "auto", "fp16"),
    ("gpt2", {"name": "ia3"}, "auto", "bf16"),
    ("gpt2", {}, "nf4", "fp32"),
    ("llama-untied", {}, "nf4", "bf16"),
    ("llama-tied", {"name": "full"}, "auto", "bf16"),
]


@pytest.mark.parametrize(("base", "method", "base_dtype", "dtype"), CASES)
def test_an_export_by_parts_is_the_same_as_one_of_whole_models(
    make_run: MakeRun,
    by_parts: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
    base: str,
    method: dict[str, Any],
    base_dtype: str,
    dtype: str,
) -> None:
    monkeypatch.setattr(merged, "SHARD", "40KB")
    run = make_run(base, method=method, base_dtype=base_dtype)

    by_parts(False)
    whole = export_run(run, "merged", dtype)
    by_parts(True)
    parts = export_run(run, "merged", dtype)

    alike(parts, whole)
    assert len(list(parts.path.glob("*.safetensors"))) > 1
    assert failed(verify_export(parts.path)) == {}
