"""A run on a base in nf4 or int8 is exported on the weights it saw; the oracle is bitsandbytes' own layer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from studio.engine.export import reference
from studio.engine.export.merge import no_collections
from studio.engine.export.rounded_base import round_base
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from studio.engine.models.load import load_model
from studio.engine.models.quantise import quantise_base, round_weight
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]
IDS = torch.tensor([[5, 17, 80, 33, 250, 7, 9, 11]])
BASES = ["llama-tied", "llama-untied", "gpt2"]


def plain(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.float()(input_ids=IDS).logits
    return found


def quantised(base: Path, base_dtype: str) -> Any:
    """The base as training has it: with bitsandbytes' own layers, multiplying in fp32."""
    model = load_model(base, "fp32")
    quantise_base(model, base_dtype, torch.float32, torch.device("cpu"))
    return model


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


def check(result: Any, name: str) -> Any:
    return next(check for check in result.checks if check.name == name)


@pytest.mark.parametrize("base", BASES)
def test_the_rounded_base_answers_like_bitsandbytes(bases: dict[str, Path], base: str) -> None:
    rounded = load_model(bases[base], "fp32")
    round_base(rounded, "nf4")

    assert (logits(rounded) - logits(quantised(bases[base], "nf4"))).abs().max() < 1e-3
    assert (logits(rounded) - logits(plain(bases[base]))).abs().max() > 0.05
    assert all(parameter.dtype == torch.float32 for parameter in rounded.parameters())


@pytest.mark.parametrize("base", BASES)
def test_int8_weights_are_the_scaled_integers_of_llm_int8(bases: dict[str, Path], base: str) -> None:
    """Each output's weights are whole multiples of its largest one / 127 (Dettmers et al. 2022)."""
    rounded, before = load_model(bases[base], "fp32"), plain(bases[base], dtype=torch.float32)
    round_base(rounded, "int8")

    changed = 0
    for (name, new), old in zip(rounded.named_parameters(), before.parameters(), strict=True):
        if torch.equal(new, old):
            continue
        changed += 1
        outputs = new if base != "gpt2" else new.t()
        original = old if base != "gpt2" else old.t()
        steps = original.half().float().abs().amax(-1, keepdim=True) / 127
        assert torch.allclose(outputs / steps, (outputs / steps).round(), atol=1e-3), name
        assert ((outputs - original).abs() <= 0.51 * steps + 1e-3 * original.abs()).all(), name
    assert changed == {"gpt2": 8}.get(base, 14), "every linear layer but the output"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_merged_nf4_run_answers_like_the_adapter_on_bitsandbytes_layers(
    make_run: MakeRun, bases: dict[str, Path], base: str, dora: bool
) -> None:
    run = make_run(base, method={"dora": dora}, base_dtype="nf4")

    result = export_run(run, "merged", "fp32")

    assert failed(result) == {}
    trained = PeftModel.from_pretrained(quantised(bases[base], "nf4"), str(run.adapter)).eval()
    with torch.no_grad():
        expected = trained(input_ids=IDS).logits
    assert (logits(plain(result.path)) - expected).abs().max() < 1e-3
    on_the_original = PeftModel.from_pretrained(plain(bases[base], dtype=torch.float32), str(run.adapter))
    assert (logits(on_the_original) - expected).abs().max() > 0.05


def test_tied_embeddings_stay_tied_and_untouched(make_run: MakeRun, bases: dict[str, Path]) -> None:
    result = export_run(make_run("llama-tied", base_dtype="nf4"), "merged", "fp32")

    model, base = plain(result.path), plain(bases["llama-tied"])
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight, base.get_input_embeddings().weight)


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_the_certificate_says_what_the_rounding_of_the_base_amounts_to(
    make_run: MakeRun, bases: dict[str, Path], base_dtype: str
) -> None:
    result = export_run(make_run(base_dtype=base_dtype), "merged", "bf16")

    assert failed(result) == {}
    loss = check(result, "quantisation_loss")
    assert loss.limit is None
    assert base_dtype in loss.meaning
    assert loss.value > 0
    card = (result.path / "README.md").read_text(encoding="utf-8")
    assert f"rounded to {base_dtype} for training" in card
    assert f"precision.base_dtype | {base_dtype}" in card


def test_a_base_that_was_not_rounded_has_no_such_loss(make_run: MakeRun) -> None:
    result = export_run(make_run(), "merged", "fp32")

    assert "quantisation_loss" not in {check.name for check in result.checks}


def test_an_adapter_is_tried_on_the_rounded_base_and_its_card_says_how_to_load_that(make_run: MakeRun) -> None:
    run = make_run(base_dtype="nf4")

    result = export_run(run, "adapter")

    assert failed(result) == {}
    assert check(result, "max_logit_difference").value == 0
    assert "load the base in nf4" in check(result, "quantisation_loss").meaning
    card = (result.path / "README.md").read_text(encoding="utf-8")
    assert 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"' in card


@pytest.mark.parametrize("target", ["merged", "adapter"])
def test_it_verifies_later(make_run: MakeRun, target: str) -> None:
    result = export_run(make_run(base_dtype="nf4"), target)

    assert failed(verify_export(result.path)) == {}


def test_merging_into_the_original_weights_is_caught(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(base_dtype="nf4")

    def into_the_original(source: Any, loaded: Any, *_: Any) -> Any:
        return source.method.merge(source.method.load(load_model(source.base), source.folder.adapter)).eval()

    monkeypatch.setattr(reference, "finished_model", into_the_original)

    assert {"merge_exact", "max_logit_difference"} <= failed(export_run(run, "merged", "fp32")).keys()


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_a_rounded_weight_leaves_nothing_that_python_has_to_collect(base_dtype: str) -> None:
    """A model of 7 billion weights, rounded layer by layer, would otherwise hold all of them in the end."""

    def quantised_parts() -> int:
        return sum(type(one).__name__ in ("Linear4bit", "Params4bit", "Linear8bitLt") for one in gc.get_objects())

    gc.collect()
    before, layer = quantised_parts(), torch.nn.Linear(64, 64)
    with no_collections():
        round_weight(layer, base_dtype)
        assert quantised_parts() == before
