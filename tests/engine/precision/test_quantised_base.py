"""QLoRA: LoRA on a base in nf4 or int8, from the layers to a whole run and its adapter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.estimate import estimate
from studio.engine.estimate.formula import Formula, storage_for
from studio.engine.estimate.plan import gpu_of, plan, storage_reasons
from studio.engine.fit import Fit
from studio.engine.methods import METHODS
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model
from studio.engine.models.quantise import count_parameters
from studio.engine.precision import PRECISIONS
from studio.engine.precision.choose import check_quantiser
from studio.engine.training import run
from studio.errors import ConfigError
from studio.events import EvaluationCompleted, ProgressReported, RunEvent, RunFinished, RunStarted
from studio.runner.memory_words import choices_text
from studio.runs import create_run
from tests.architectures.models import save
from tests.tiny import Bench, bench, gpt2, llama, micro_batches, rows, save_model, save_rows

QLORA: dict[str, object] = {"name": "bf16-mixed", "base_dtype": "nf4"}
LORA = {"name": "lora", "rank": 4, "dropout": 0.0}


@pytest.mark.parametrize(("base_dtype", "layer"), [("nf4", Linear4bit), ("int8", Linear8bitLt)])
def test_linear_layers_are_quantised_and_embedding_output_and_norms_are_not(base_dtype: str, layer: type) -> None:
    tiny = bench(LORA, {"name": "fp32", "base_dtype": base_dtype}, base=llama(tied=False))
    for block in tiny.base.model.layers:
        for module in (block.self_attn.q_proj, block.self_attn.o_proj, block.mlp.down_proj):
            assert type(module) is layer
    assert tiny.base.get_input_embeddings().weight.dtype == torch.float32
    assert type(tiny.base.get_output_embeddings()) is torch.nn.Linear
    assert {p.dtype for p in tiny.parameters} == {torch.float32}


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed", "bf16-pure", "fp16-pure"])
@pytest.mark.parametrize("dora", [False, True])
def test_the_loss_falls_on_a_quantised_base_in_every_precision(base_dtype: str, precision: str, dora: bool) -> None:
    scale = {"initial_scale": 1024.0}
    tiny = bench(LORA | {"dora": dora}, {"name": precision, "base_dtype": base_dtype, **scale})
    losses = [tiny.update(rows(8)).loss for _ in range(6)]
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
@pytest.mark.parametrize("precision", ["fp16-mixed", "bf16-pure", "fp16-pure"])
@pytest.mark.parametrize("method", sorted(m.name for m in METHODS if m.quantised_base))
def test_every_method_that_takes_a_quantised_base_trains_on_gpt2_too(
    method: str, precision: str, base_dtype: str
) -> None:
    """Its LayerNorms take only numbers of their own format, unlike the norms of Llama."""
    scale = {"initial_scale": 1024.0}
    tiny = bench({"name": method}, {"name": precision, "base_dtype": base_dtype, **scale}, base=gpt2())
    before = [parameter.detach().clone() for parameter in tiny.parameters]
    assert not tiny.update(rows(8)).skipped
    assert any(not torch.equal(a, b) for a, b in zip(before, tiny.parameters, strict=True))


def _evaluated(tiny: Bench) -> float:
    batches = micro_batches(rows(8))
    with tiny.loss.without_dropout(), torch.no_grad(), tiny.trainer.autocast():
        return sum(float(tiny.loss(batch)) for batch in batches) / sum(batch.supervised for batch in batches)


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_an_evaluation_sees_the_weights_of_training_and_does_not_disturb_them(base_dtype: str) -> None:
    plain, evaluated = (bench(LORA, {"name": "bf16-mixed", "base_dtype": base_dtype}) for _ in range(2))
    for _ in range(3):
        expected = _evaluated(evaluated)
        attempt = evaluated.update(rows(8))
        assert attempt.loss == pytest.approx(expected, rel=1e-6)
        assert attempt == plain.update(rows(8))


def test_two_numbers_in_a_byte_are_counted_as_two() -> None:
    total = sum(p.numel() for p in llama().parameters())
    tiny = bench(LORA, QLORA)
    assert count_parameters(tiny.model) == total + sum(p.numel() for p in tiny.parameters)


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_an_adapter_learnt_on_a_quantised_gpt2_opens_in_plain_peft(tmp_path: Path, base_dtype: str) -> None:
    tiny = bench(LORA, {"name": "fp32", "base_dtype": base_dtype}, base=gpt2())
    for _ in range(3):
        tiny.update(rows(8))
    METHODS.get("lora").save(tiny.model, tmp_path)
    loaded = PeftModel.from_pretrained(gpt2(), str(tmp_path))
    tiny.model.eval()
    ids = torch.tensor([rows(1)[0].input_ids])
    with torch.no_grad():
        trained, reloaded, base = (model(ids).logits for model in (tiny.model, loaded, gpt2()))
    assert float((trained - reloaded).abs().max()) < float((trained - base).abs().max()) / 3


@pytest.mark.parametrize("base_dtype", ["fp32", "bf16", "int8", "nf4"])
def test_the_estimate_of_the_weights_is_what_they_take(tmp_path: Path, base_dtype: str) -> None:
    info = inspect_model(save_model(tmp_path / "model"))
    tables = {"precision": {"name": "bf16-mixed", "base_dtype": base_dtype}, "method": {"name": "lora", "rank": 4}}
    needed = {"model": {"path": "m"}, "data": {"sources": [{"path": "d.jsonl"}]}}
    config, precision = parse_config(needed | tables), PRECISIONS.get("bf16-mixed")
    parts = Formula(info.shapes, config, precision, "cpu").components(Fit(recompute=False, micro_batch_tokens=100))
    tiny = bench(LORA, tables["precision"])  # type: ignore[arg-type]
    taken = sum(p.numel() * p.element_size() for p in tiny.model.parameters())
    scales = sum(p.quant_state.absmax.numel() for p in tiny.model.parameters() if hasattr(p, "quant_state"))
    assert parts["weights"] == taken + scales


def test_without_bitsandbytes_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'finetune-studio\[gpu\]'"):
        check_quantiser("nf4", torch.device("cpu"))
    check_quantiser("bf16", torch.device("cpu"))


def test_bitsandbytes_fetches_no_program_code_and_loads_no_compiler_while_it_is_imported(tmp_path: Path) -> None:
    marker = tmp_path / "fetched"
    (tmp_path / "kernels.py").write_text(
        f"def get_kernel(*_, **__): open({str(marker)!r}, 'w').close(); raise OSError\n"
    )
    words = (
        "from studio.engine.models.quantise import import_bitsandbytes; import_bitsandbytes(); import peft; "
        "import kernels, bitsandbytes, sys, os; print(kernels.__file__); "
        "print('torch._inductor.lowering' in sys.modules, 'TORCHDYNAMO_DISABLE' in os.environ)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env=_path(tmp_path), check=True
    )
    assert done.stdout.splitlines() == [str(tmp_path / "kernels.py"), "False False"]
    assert "kernels-community" not in done.stderr
    assert not marker.exists()


def _path(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(run.__file__).parents[3])])}


class Qlora:
    """One whole run with LoRA on an nf4 base."""

    def __init__(self, folder: Path, precision: dict[str, Any]) -> None:
        self.model = folder / "model"
        if not self.model.exists():
            save_model(self.model)
            save_rows(folder / "rows.jsonl")
        config = parse_config(
            {
                "model": {"path": str(self.model)},
                "data": {"sources": [{"path": str(folder / "rows.jsonl")}], "validation_fraction": 0.1},
                "method": {"name": "lora", "rank": 4},
                "precision": precision,
                "training": {"batch_size": 4, "max_steps": 6, "learning_rate": 1e-2, "device": "cpu"},
            }
        )
        self.events: list[RunEvent] = []
        self.folder = create_run(folder / "runs", "test", write_config(config))
        run.train(config, self.folder, Control(), self._keep)
        self.weights = load_file(self.folder.adapter / "adapter_model.safetensors")

    def _keep(self, event: RunEvent | ProgressReported) -> None:
        if not isinstance(event, ProgressReported):
            self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def test_a_qlora_run_learns_and_its_adapter_opens_on_the_plain_base(tmp_path: Path) -> None:
    done = Qlora(tmp_path, QLORA)
    losses = [event.loss for event in done.of(EvaluationCompleted)]
    assert losses[-1] < losses[0]
    assert done.of(RunStarted)[0].precision_because[-1] == "frozen_as_asked"
    assert done.of(RunStarted)[0].frozen_dtype == "nf4"
    base = AutoModelForCausalLM.from_pretrained(done.model)
    total = sum(p.numel() for p in base.parameters())
    (finished,) = done.of(RunFinished)
    assert finished.total_parameters == total + finished.trainable_parameters
    loaded = PeftModel.from_pretrained(base, str(done.folder.adapter), is_trainable=True)
    assert sum(p.numel() for p in loaded.parameters() if p.requires_grad) == finished.trainable_parameters
    assert all(tensor.dtype == torch.float32 for tensor in done.weights.values())


@pytest.mark.parametrize(
    "precision",
    [QLORA, {"name": "bf16-pure", "stochastic_rounding": True}, {"name": "fp16-pure"}],
)
def test_a_whole_run_repeats_bit_for_bit(tmp_path: Path, precision: dict[str, Any]) -> None:
    first, second = Qlora(tmp_path, precision), Qlora(tmp_path, precision)
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_experts_that_are_not_rounded_are_counted_and_said(tmp_path: Path, name: str, base_dtype: str) -> None:
    info = inspect_model(save(name, tmp_path / name))
    tables = {"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "method": LORA}
    config = parse_config(tables | {"precision": {"name": "bf16-mixed", "base_dtype": base_dtype}})
    precision = PRECISIONS.get("bf16-mixed")
    storage = storage_for(config, precision)
    base = load_model(info.path, storage=storage)
    experts = [base.get_parameter(expert.name) for expert in info.shapes.experts]
    assert experts
    assert {parameter.dtype for parameter in experts} == {torch.bfloat16}
    taken = sum(parameter.nbytes for parameter in base.parameters())
    assert storage.bytes(info.shapes) == pytest.approx(taken, rel=0.02)
    needs = estimate(info, config, gpu_of(24))
    assert needs.expert_bytes == sum(parameter.nbytes for parameter in experts)
    assert f"base stored in {base_dtype}, but for its experts" in choices_text(needs)
    assert storage_reasons(info, config, plan(info, config, gpu_of(24))) == ["frozen_as_asked", "experts_not_rounded"]
    plain = parse_config(tables | {"precision": {"name": "bf16-mixed", "base_dtype": "bf16"}})
    assert estimate(info, plain, gpu_of(24)).expert_bytes == 0
    assert storage_reasons(info, plain, plan(info, plain, gpu_of(24))) == ["frozen_as_asked"]


def test_a_base_without_experts_says_nothing_of_them(tmp_path: Path) -> None:
    info = inspect_model(save_model(tmp_path))
    tables = {"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "method": LORA, "precision": QLORA}
    needs = estimate(info, parse_config(tables), gpu_of(24))
    assert needs.expert_bytes == 0
    assert choices_text(needs).endswith("base stored in nf4")
