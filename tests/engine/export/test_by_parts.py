"""A model that does not fit into memory is exported part by part: the same files, the same measurements."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from peft.tuners.lora.layer import Linear
from safetensors.torch import load_file
from transformers import AutoTokenizer, Glm4MoeConfig, Glm4MoeForCausalLM

from studio.engine.control import no_progress
from studio.engine.export import TARGETS, memory, reference
from studio.engine.export.by_parts import examine, gather
from studio.engine.export.compare import Outputs, compare
from studio.engine.export.reference import logit_tolerance
from studio.engine.export.run import ExportResult, export_run
from studio.engine.export.shards import ShardWriter
from studio.engine.export.source import open_source
from studio.engine.export.targets import merged
from studio.engine.export.verify import verify_export
from studio.errors import ExportError
from studio.runs import RunFolder

BIAS = "e_score_correction_bias"
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


ADAPTERS = [
    ("llama-tied", {}, "auto"),
    ("llama-untied", {"dora": True}, "nf4"),
    ("gpt2", {"name": "ia3"}, "auto"),
    ("llama-tied", {"name": "prompt-tuning", "virtual_tokens": 4}, "auto"),
    ("llama-untied", {"name": "prefix-tuning", "virtual_tokens": 4}, "auto"),
]


@pytest.mark.parametrize(("base", "method", "base_dtype"), ADAPTERS)
def test_an_adapter_is_checked_by_parts_as_with_a_whole_model(
    make_run: MakeRun, by_parts: Callable[[bool], None], base: str, method: dict[str, Any], base_dtype: str
) -> None:
    run = make_run(base, method=method, base_dtype=base_dtype)

    by_parts(False)
    whole = export_run(run, "adapter")
    by_parts(True)
    parts = export_run(run, "adapter")

    alike(parts, whole)
    assert failed(verify_export(parts.path)) == {}
    source, adapter = open_source(run, no_progress), TARGETS.get("adapter")
    tokenizer = AutoTokenizer.from_pretrained(source.base)
    prefix = adapter.prefix(source, tokenizer)
    in_parts = gather(source, adapter, "fp32", prefix, tokenizer, None, no_progress).trained
    in_whole = reference.gather(source, adapter, "fp32", prefix, tokenizer, no_progress, read_back=True)[0].trained
    assert compare(in_whole, in_parts).max_logit_difference < 1e-4


def test_an_adapter_whose_scale_was_changed_fails_by_parts(make_run: MakeRun, by_parts: Callable[[bool], None]) -> None:
    by_parts(True)
    run = make_run("llama-tied")
    export = export_run(run, "adapter")
    file = export.path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(config | {"lora_alpha": 10 * config["lora_alpha"]}), encoding="utf-8")
    source, adapter = open_source(run, no_progress), TARGETS.get("adapter")
    tokenizer = AutoTokenizer.from_pretrained(source.base)
    prefix = adapter.prefix(source, tokenizer)
    measured = gather(source, adapter, "fp32", prefix, tokenizer, None, no_progress)
    checks = examine(source, adapter, "fp32", tokenizer, measured, export.path, no_progress)
    assert "max_logit_difference" in {check.name for check in checks if not check.passed}


@pytest.fixture
def experts(bases: dict[str, Path], tmp_path: Path) -> Path:
    """The folder of a mixture of experts; its files keep what chooses among them in fp32, the rest in bf16."""
    tokenizer = AutoTokenizer.from_pretrained(bases["llama-tied"])
    torch.manual_seed(0)
    config = Glm4MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        moe_intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        initializer_range=0.2,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = Glm4MoeForCausalLM(config)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(BIAS):
                buffer += 0.1 * torch.randn_like(buffer)
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = tensor.data.to(torch.float32 if name.endswith(BIAS) else torch.bfloat16)
    model.save_pretrained(tmp_path / "experts")
    tokenizer.save_pretrained(tmp_path / "experts")
    return tmp_path / "experts"


def test_what_transformers_keeps_in_fp32_stays_so_in_sixteen_bits(
    make_run: MakeRun, by_parts: Callable[[bool], None], experts: Path
) -> None:
    run = make_run(experts, method={"name": "full"})

    by_parts(False)
    whole = export_run(run, "merged", "bf16")
    by_parts(True)
    parts = export_run(run, "merged", "bf16")

    alike(parts, whole)
    stored = load_file(whole.path / "model.safetensors")
    trained = load_file(run.adapter / "model.safetensors")
    kept = {name for name, tensor in stored.items() if tensor.dtype == torch.float32}
    assert kept == {f"model.layers.{number}.mlp.gate.{BIAS}" for number in (1, 2)}
    assert all(torch.equal(stored[name], trained[name]) for name in kept)


def test_a_model_goes_by_parts_only_where_it_does_not_fit_well(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(make_run(), no_progress)
    free = {"roomy": 10**12, "tight": memory.part_bytes(source.info.shapes), "none": 1000}
    monkeypatch.setattr(memory, "_COMFORTABLE", 1e-3)

    def needs(state: str, target: str = "merged", total: int = 10**12) -> bool:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free[state], total=total))
        return memory.needs_parts(source, TARGETS.get(target))

    assert not needs("roomy")
    assert needs("tight")
    with pytest.raises(ExportError, match="close other programs"):
        needs("none")
    monkeypatch.setattr(memory, "_MODEL", 10**12)
    assert needs("tight", "adapter")
    with pytest.raises(ExportError, match=r"as self-contained, .* with more\. Exported as merged or adapter, it needs"):
        needs("tight", "self-contained", total=10**12)
    with pytest.raises(ExportError, match=r"computer with more\.$"):
        needs("none", total=2000)


def test_damage_done_while_it_is_written_fails_the_certificate(
    make_run: MakeRun, by_parts: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_parts(True)
    write = ShardWriter.write

    def damaged(writer: ShardWriter, tensors: dict[str, torch.Tensor]) -> None:
        write(writer, {name: tensor * (1.5 if "layers.1" in name else 1) for name, tensor in tensors.items()})

    monkeypatch.setattr(ShardWriter, "write", damaged)
    result = export_run(make_run(), "merged", "bf16")

    assert {"weights_as_written", "max_logit_difference"} <= failed(result).keys()


def test_a_wrong_merge_fails_the_certificate(
    make_run: MakeRun, by_parts: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_parts(True)
    monkeypatch.setattr(Linear, "merge", lambda layer, safe_merge: layer.merged_adapters.append("default"))
    result = export_run(make_run(), "merged", "bf16")

    assert {"merge_exact", "max_logit_difference", "delta_present"} <= failed(result).keys()


def test_the_end_of_an_answer_is_asked_for_without_generation(
    make_run: MakeRun, by_parts: Callable[[bool], None]
) -> None:
    """The GPT-2 always ends its answer."""
    by_parts(True)
    result = export_run(make_run("gpt2", kind="base"), "merged", "fp32")

    stop = next(check for check in result.checks if check.name == "stops_by_itself")
    assert stop.evidence is not None
    assert stop.evidence["teacher_forced"]
    assert stop.passed
    assert stop.evidence["ended"] == stop.evidence["trained"] == stop.evidence["asked"] > 0


def test_an_honest_merge_of_a_model_with_large_logits_is_exact() -> None:
    large = Outputs((torch.tensor([[290.0, -3.0]]),))
    assert logit_tolerance(large) == pytest.approx(2.9e-3)
    assert logit_tolerance(Outputs((torch.tensor([[30.0, -3.0]]),))) == 1e-3
    assert logit_tolerance(Outputs((torch.tensor([[float("nan"), 1.0]]),))) == 1e-3
