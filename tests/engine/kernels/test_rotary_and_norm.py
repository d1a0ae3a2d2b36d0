"""Rotations and norms in fewer operations, against those of transformers: values, gradients, and other formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GemmaConfig, GemmaForCausalLM, LlamaForCausalLM
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from studio.engine.kernels.norm import fuse_norms
from studio.engine.kernels.rotary import replace_rotary, turn_together
from tests.tiny import llama


def _turned(function: Any, dtype: torch.dtype, heads: int = 1) -> list[Tensor]:
    """Turned queries and keys, and the gradients of both; cos and sin of both halves differ, so that none is mixed up."""
    torch.manual_seed(0)
    query, key = (torch.randn(2, count, 5, 8) for count in (4, 2))
    cos, sin = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    if heads == 2:
        query, key = query.transpose(1, 2), key.transpose(1, 2)
    given = [tensor.to(dtype).detach().requires_grad_() for tensor in (query, key)]
    turned = [tensor.float() for tensor in function(*given, cos, sin, unsqueeze_dim=heads)]
    weights = [torch.randn(tensor.shape) for tensor in turned]
    sum((tensor * weight).sum() for tensor, weight in zip(turned, weights, strict=True)).backward()
    return [*turned, *(tensor.grad.float() for tensor in given)]


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_queries_and_keys_turn_as_in_transformers(dtype: torch.dtype, near: float, heads: int) -> None:
    sides = [_turned(function, dtype, heads) for function in (turn_together, apply_rotary_pos_emb)]
    for found, expected in zip(*sides, strict=True):
        torch.testing.assert_close(found, expected, rtol=near, atol=near)


def _loss_and_gradients(model: Any) -> list[Tensor]:
    ids = torch.arange(60).view(2, 30) % 50
    loss = model(input_ids=ids, labels=ids).loss
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def _gemma() -> GemmaForCausalLM:
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=0,
    )
    return GemmaForCausalLM(config)


@pytest.mark.parametrize("make", [llama, _gemma])
def test_a_model_computes_the_same_and_its_neighbours_stay_as_they_are(make: Any) -> None:
    plain, changed = make(), make()
    for model in (plain, changed):
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(parameter, 1.0, 0.1)
    fuse_norms(changed)
    replace_rotary(changed, turn_together)
    kinds = {type(m).__name__ for m in changed.modules() if "forward" in m.__dict__}
    name = type(plain).__name__.removesuffix("ForCausalLM")
    assert kinds == {f"{name}RMSNorm", f"{name}Attention"}
    assert not any("forward" in module.__dict__ for module in plain.modules())
    for found, expected in zip(_loss_and_gradients(changed), _loss_and_gradients(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_other_formulas_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleaved(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        return apply_rotary_pos_emb(query.flip(-1), key.flip(-1), cos, sin)

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", interleaved)
    monkeypatch.setattr(
        modeling_llama.LlamaRMSNorm, "forward", lambda norm, x: norm.weight * x / x.abs().amax(-1, True)
    )
    model = llama()
    assert isinstance(model, LlamaForCausalLM)
    fuse_norms(model)
    replace_rotary(model, turn_together)
    assert not any("forward" in module.__dict__ for module in model.modules())
