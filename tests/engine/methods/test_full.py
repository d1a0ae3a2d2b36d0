"""Full fine-tuning on every layout: what is saved is the whole model, and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from studio.config.method import read_method
from studio.engine.methods import METHODS
from studio.errors import ModelError
from tests.engine.methods.layouts import LAYOUTS, ids, make

METHOD = METHODS.get("full")


def trained(layout: str) -> nn.Module:
    model = METHOD.attach(make(layout), read_method({"name": "full"}))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(input_ids=ids()).logits
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_saved_is_loaded_in_place_of_the_base(layout: str, tmp_path: Path) -> None:
    model = trained(layout)
    METHOD.save(model, tmp_path)

    base = make(layout)
    before, loaded = logits(base), METHOD.load(base, tmp_path)

    assert loaded is base
    assert torch.equal(logits(loaded), logits(model))
    assert not torch.equal(logits(loaded), before)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_merged_is_a_model_that_plain_transformers_opens(layout: str, tmp_path: Path) -> None:
    model = trained(layout)
    METHOD.save(model, tmp_path)

    METHOD.merge(METHOD.load(make(layout), tmp_path)).save_pretrained(tmp_path / "merged")

    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert torch.equal(logits(opened), logits(model))
    tied = opened.get_input_embeddings().weight is opened.get_output_embeddings().weight
    assert tied == bool(make(layout).all_tied_weights_keys)


def test_weights_of_another_format_are_loaded_in_fp32(tmp_path: Path) -> None:
    model = trained("llama")
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    METHOD.save(model, tmp_path)

    loaded = METHOD.load(make("llama"), tmp_path)

    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(logits(loaded), logits(model.float()))


def test_a_generation_config_that_transformers_finds_fault_with_does_not_lose_the_training(tmp_path: Path) -> None:
    model: Any = trained("llama")
    model.generation_config.temperature = 0.5  # of no use without sampling, yet often published
    METHOD.save(model, tmp_path)

    assert model.generation_config.temperature == 0.5
    assert torch.equal(logits(METHOD.load(make("llama"), tmp_path)), logits(model))


@pytest.mark.parametrize(("change", "reason"), [("drop", "lack"), ("add", "do not fit"), ("cut", "do not fit")])
def test_weights_that_are_not_those_of_the_base_are_refused_by_name(change: str, reason: str, tmp_path: Path) -> None:
    METHOD.save(trained("gpt-neox"), tmp_path)
    file, name = tmp_path / "model.safetensors", "gpt_neox.layers.1.mlp.dense_4h_to_h.weight"
    tensors = load_file(file)
    weight = tensors.pop(name)
    if change == "add":
        tensors |= {name: weight, name.replace("4h_to_h", "more"): weight.clone()}
    if change == "cut":
        tensors[name] = weight[:-1].contiguous()
    save_file(tensors, file, {"format": "pt"})

    with pytest.raises(ModelError, match=rf"{reason}.*layers\.1\.mlp\.dense"):
        METHOD.load(make("gpt-neox"), tmp_path)
