"""Our loader beside plain transformers', over architectures that keep their weights in different ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from studio.engine.models.load import load_model
from studio.engine.models.storage import Storage
from tests.engine.models.architectures import ARCHITECTURES, make


def _tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_and_table_is_that_of_plain_transformers(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    make(name).to(dtype).save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    expected = _tensors(plain)
    found = _tensors(ours)
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert tensor.dtype == expected[key].dtype, key
        assert torch.equal(tensor, expected[key]), key
    assert ours.config.to_dict() == plain.config.to_dict()
    assert ours.generation_config.to_dict() == plain.generation_config.to_dict()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("frozen", ["bf16", "nf4"])
def test_no_weight_but_vectors_is_stored_wider_than_its_file(tmp_path: Path, name: str, frozen: str) -> None:
    make(name).to(torch.bfloat16).save_pretrained(tmp_path)
    storage = Storage(frozen=frozen, products="bf16", rest="fp32", trained=lambda name: False)
    model = load_model(tmp_path, storage=storage)
    wide = [name for name, p in model.named_parameters() if p.dim() > 1 and p.dtype.itemsize > 2]
    assert [name for name in wide if "conv" not in name and "embed_positions" not in name] == []
