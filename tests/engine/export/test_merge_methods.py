"""What merges, merges right: IA3 and PiSSA too, on tied, untied and transposed weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.engine.export import TARGETS
from studio.engine.export.rounded_base import round_base
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from studio.engine.methods import METHODS
from studio.engine.models.load import load_model
from studio.runs import RunFolder
from tests.engine.methods.layouts import make

MakeRun = Callable[..., RunFolder]
IDS = torch.tensor([[5, 17, 80, 33, 250, 7, 9, 11]])
BASES = ["llama-tied", "llama-untied", "gpt2"]


def plain(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


@pytest.mark.parametrize("base", BASES)
def test_ia3_is_merged_into_a_plain_model(make_run: MakeRun, bases: dict[str, Path], base: str) -> None:
    run = make_run(base, method={"name": "ia3"})

    result = export_run(run, "merged", "fp32")

    assert failed(result) == {}
    expected = logits(PeftModel.from_pretrained(plain(bases[base]), str(run.adapter)).eval())
    assert (logits(plain(result.path)) - expected).abs().max() < 1e-3
    assert (logits(plain(bases[base])) - expected).abs().max() > 0.01


@pytest.mark.parametrize("base", BASES)
def test_ia3_on_a_base_in_nf4_is_merged_into_the_rounded_weights(
    make_run: MakeRun, bases: dict[str, Path], base: str
) -> None:
    run = make_run(base, method={"name": "ia3"}, base_dtype="nf4")

    result = export_run(run, "merged", "fp32")

    assert failed(result) == {}
    rounded = load_model(bases[base])
    round_base(rounded, "nf4")
    expected = logits(PeftModel.from_pretrained(rounded, str(run.adapter)).eval())
    assert (logits(plain(result.path)) - expected).abs().max() < 1e-3


@pytest.mark.parametrize("base", BASES)
def test_a_pissa_run_merges_and_its_adapter_is_a_plain_one(
    make_run: MakeRun, bases: dict[str, Path], base: str
) -> None:
    """PiSSA trains the largest singular directions of the weights themselves (Meng et al. 2024), and changes the base
    for it; what it saves must fit the base as it was."""
    run = make_run(base, method={"init": "pissa"})
    method = METHODS.get("lora")
    model = load_model(bases[base])
    config = method.config.model_validate({"name": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "init": "pissa"})
    torch.manual_seed(0)
    trained = method.attach(model, config).eval()
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "lora_" in name:
                parameter += 0.02 * torch.randn_like(parameter)
    expected = logits(trained)
    method.save(trained, run.adapter)

    merged, adapter = export_run(run, "merged", "fp32"), export_run(run, "adapter")

    assert failed(merged) == failed(adapter) == {}
    assert (logits(plain(merged.path)) - expected).abs().max() < 1e-3
    loaded = PeftModel.from_pretrained(plain(bases[base]), str(adapter.path)).eval()
    assert (logits(loaded) - expected).abs().max() < 1e-3
    assert (logits(plain(bases[base])) - expected).abs().max() > 0.05


def test_a_fully_trained_model_whose_files_name_weights_otherwise_is_exported_and_verified(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    """GPT-NeoX, and so Pythia: the output is `lm_head` in the model and `embed_out` in its files."""
    tokenizer = AutoTokenizer.from_pretrained(bases["gpt2"])
    make("gpt-neox", vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=0).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    run = make_run(tmp_path / "base", method={"name": "full"})

    result = export_run(run, "merged", "fp32")

    assert failed(result) == {}
    assert verify_export(result.path).passed
    assert torch.equal(logits(plain(result.path)), logits(plain(run.adapter)))


@pytest.mark.parametrize("base_dtype", ["auto", "nf4"])
@pytest.mark.parametrize("base", ["llama-tied", "gpt2"])
@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning", "prefix-tuning", "ia3"])
def test_an_adapter_of_any_form_that_peft_has_loads_with_plain_peft(
    make_run: MakeRun, bases: dict[str, Path], name: str, base: str, base_dtype: str
) -> None:
    method = {"name": name} | ({} if name == "ia3" else {"virtual_tokens": 3})
    run = make_run(base, method=method, base_dtype=base_dtype)

    result = export_run(run, "adapter")

    assert failed(result) == {}
    loaded, trained = (
        PeftModel.from_pretrained(plain(bases[base]), str(folder)).eval() for folder in (result.path, run.adapter)
    )
    assert torch.equal(logits(loaded), logits(trained))


def test_every_method_has_an_export_and_every_refusal_is_a_sentence() -> None:
    for method in METHODS:
        reasons = {target.name: target.refuse(method) for target in TARGETS}
        assert "" in reasons.values(), method.name
        for reason in filter(None, reasons.values()):
            assert reason.endswith("."), reason
            assert reason[0].isupper(), reason
