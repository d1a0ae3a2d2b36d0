"""Each kernel against the plain modules of torch, peft and transformers, values and gradients."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F

from studio.engine.autocast import autocast
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.cross_entropy import cross_entropy_sum
from studio.engine.kernels.head import keep_head_converted
from studio.engine.kernels.lora import drop, drop_likewise_, fuse_lora, layers_apart
from studio.engine.kernels.products import addmm, addmm_, mm
from studio.engine.kernels.widen import _linear
from studio.engine.precision import PRECISIONS
from tests.tiny import gpt2, llama

CPU = torch.device("cpu")
HALVES = (torch.float16, torch.bfloat16)


def _pair(rate: float = 0.0, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A peft model as it comes, and the same with fused layers; B is not zero, so that everything has a gradient."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=rate, target_modules="all-linear", **options)
    plain = get_peft_model(llama(), config)
    for name, parameter in plain.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    fused = copy.deepcopy(plain)
    fuse_lora(fused)
    return plain.train(), fused.train()


def _loss_and_gradients(model: nn.Module, precision: str, scale: float = 1.0) -> tuple[float, dict[str, torch.Tensor]]:
    ids = torch.arange(60).view(2, 30) % 50
    with autocast(PRECISIONS.get(precision), CPU):
        loss = model(input_ids=ids, labels=ids).loss
    (loss * scale).backward()
    gradients = {n: p.grad / scale for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach().item(), gradients


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-5), ("bf16-mixed", 3e-2), ("fp16-mixed", 4e-3)])
def test_fused_lora_learns_what_peft_learns(precision: str, near: float) -> None:
    plain, fused = _pair()
    loss, gradients = _loss_and_gradients(plain, precision, 1024.0)
    fused_loss, fused_gradients = _loss_and_gradients(fused, precision, 1024.0)
    assert fused_loss == pytest.approx(loss, rel=near / 10)
    assert fused_gradients.keys() == gradients.keys()
    assert max(_distance(fused_gradients[name], gradients[name]) for name in gradients) < near


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed"])
def test_fused_lora_with_b_at_zero_equals_the_base_bit_for_bit(precision: str) -> None:
    base = llama()
    ids = torch.arange(30).view(1, 30)
    with torch.no_grad(), autocast(PRECISIONS.get(precision), CPU):
        before = base(input_ids=ids).logits
        trained = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
        fuse_lora(trained)
        assert torch.equal(trained(input_ids=ids).logits, before)


def test_fused_lora_drops_in_training_alone_and_keeps_the_mean() -> None:
    _, fused = _pair(rate=0.3)
    layer = fused.base_model.model.model.layers[0].mlp.up_proj
    x = torch.randn(1, 4, 32)
    fused.requires_grad_(False).eval()
    expected = layer(x)
    assert torch.equal(layer(x), expected)
    fused.train()
    draws = torch.stack([layer(x) for _ in range(3000)])
    assert not torch.equal(draws[0], draws[1])
    assert _distance(draws.mean(0), expected) < 0.03


def test_the_gradient_with_dropout_is_that_of_the_masked_layer() -> None:
    _, fused = _pair(rate=0.5)
    layer = fused.base_model.model.model.layers[0].self_attn.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(3, 5, 32, requires_grad=True)
    torch.manual_seed(3)
    keep = ~_is_dropped(drop(x.detach().flatten(0, 1), 0.5)).view_as(x)
    torch.manual_seed(3)
    (layer(x).square().sum()).backward()
    ours = [x.grad, a.grad, b.grad]
    x2, a2, b2 = (value.detach().clone().requires_grad_() for value in (x, a, b))
    y = F.linear(x2, layer.base_layer.weight) + (x2 * keep / 0.5) @ a2.t() @ b2.t() * layer.scaling["default"]
    y.square().sum().backward()
    for mine, theirs in zip(ours, [x2.grad, a2.grad, b2.grad], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def _is_dropped(values: torch.Tensor) -> torch.Tensor:
    return (values == 0) & values.signbit()


def _attention() -> nn.Module:
    _, fused = _pair()
    attention: nn.Module = fused.base_model.model.model.layers[0].self_attn
    return attention


def _in_16_bits(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with autocast(PRECISIONS.get("bf16-mixed"), CPU):
        result: torch.Tensor = layer(x)
    return result


def test_a_fused_layer_reads_an_input_anew_that_was_changed_in_place() -> None:
    attention, x = _attention(), torch.randn(2, 5, 32)
    alone = [_in_16_bits(layer, x.neg()) for layer in (attention.q_proj, attention.k_proj)]
    with torch.no_grad():  # they find out that they read the same
        _in_16_bits(attention.q_proj, x), _in_16_bits(attention.k_proj, x)
    _in_16_bits(attention.q_proj, x)
    x.neg_()
    assert torch.equal(_in_16_bits(attention.k_proj, x), alone[1])
    assert torch.equal(_in_16_bits(attention.k_proj, -x), _in_16_bits(_attention().k_proj, -x))


def test_layers_that_read_the_same_input_are_one_step_that_gives_each_its_own() -> None:
    attention, x = _attention(), torch.randn(2, 5, 32)
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    alone = [layer(x) for layer in layers]
    with torch.no_grad():  # they find out that they read the same
        for layer in layers:
            layer(x)
    together = [layer(x) for layer in layers]
    with layers_apart():
        assert len({layer(x).grad_fn.next_functions[0][0] for layer in layers}) == 3
    assert len({output.grad_fn.next_functions[0][0] for output in alone}) == 3
    assert len({output.grad_fn.next_functions[0][0] for output in together}) == 1
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert len({output.untyped_storage().data_ptr() for output in together}) == 3  # each may be changed in place
    assert attention.o_proj(x).grad_fn.next_functions[0][0] not in [o.grad_fn.next_functions[0][0] for o in together]


def test_what_a_broken_pass_leaves_waiting_is_let_go_by_the_next_one() -> None:
    """Memory may run out between gate and up: the graph of that pass must not take the room of the next."""
    _, fused = _pair()
    first, second = fused.base_model.model.model.layers
    x, y = torch.randn(2, 5, 32), torch.randn(2, 5, 32, requires_grad=True)
    with torch.no_grad():
        second.mlp.gate_proj(x), second.mlp.up_proj(x)
    inner, part = y * 2.0, nn.Identity()
    inner.grad_fn.metadata["part"] = part
    graph = weakref.ref(part)
    second.mlp.gate_proj(inner)
    del inner, part
    assert graph() is not None
    first.self_attn.q_proj(x)
    assert graph() is None


def test_what_the_fused_layer_does_not_cover_stays_with_peft() -> None:
    _, dora = _pair(use_dora=True)
    assert not any("forward" in vars(module) for module in dora.modules())
    conv = get_peft_model(gpt2(), LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    fuse_lora(conv)
    assert not any("forward" in vars(module) for module in conv.modules())


def test_a_fused_model_can_be_switched_off_merged_and_unloaded() -> None:
    plain, fused = _pair()
    ids = torch.arange(20).view(1, 20)
    plain.eval(), fused.eval()
    with torch.no_grad():
        with plain.disable_adapter(), fused.disable_adapter():
            assert torch.equal(plain(input_ids=ids).logits, fused(input_ids=ids).logits)
        merged, fused_merged = plain.merge_and_unload(), fused.merge_and_unload()
        assert torch.equal(merged(input_ids=ids).logits, fused_merged(input_ids=ids).logits)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_the_cross_entropy_is_torchs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(3, 7, 900) * 5).to(dtype).requires_grad_()
    targets = torch.randint(0, 900, (3, 7))
    targets[0, :4] = targets[2] = -100
    wide = logits.detach().float().requires_grad_()
    expected = F.cross_entropy(wide.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    (expected * 64).backward()
    learnt = targets != -100
    loss = cross_entropy_sum(logits[learnt], targets[learnt], lambda rows: rows * 1.0, weight=64.0, vocabulary=900)
    (loss * 64).backward()
    assert loss.detach().item() == pytest.approx(expected.detach().item(), rel=1e-6)
    torch.testing.assert_close(logits.grad, wide.grad.to(dtype), rtol=1e-3, atol=1e-6)
    assert not logits.grad[2].any()


def test_the_loss_scale_reaches_the_logits_before_they_are_rounded() -> None:
    """A probability of 1e-6 is lost in fp16 at the weight of a token among many, and kept when the loss is scaled."""
    logits = torch.zeros(1, 2, dtype=torch.float16).copy_(torch.tensor([[0.0, 13.8]])).requires_grad_()
    loss = cross_entropy_sum(logits, torch.tensor([1]), lambda rows: rows * 1.0, weight=65.536, vocabulary=2)
    (loss / 1000 * 65536).backward()
    assert float(logits.grad[0, 0]) == pytest.approx(
        torch.softmax(logits.detach().float(), 1)[0, 0].item() * 65.536, rel=1e-2
    )


def test_all_rows_of_a_large_vocabulary_are_gone_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.engine.kernels.cross_entropy.PIECE", 2500)
    monkeypatch.setattr("studio.engine.kernels.cross_entropy.in_fp32", lambda device: 1000)
    test_the_cross_entropy_is_torchs(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_dropout_drops_its_share_and_repeats_with_its_seed(rate: float, dtype: torch.dtype) -> None:
    values = torch.randn(1001, 101).to(dtype)
    torch.manual_seed(5)
    first = drop(values, rate)
    torch.manual_seed(5)
    assert torch.equal(first, drop(values, rate))
    assert not torch.equal(first, drop(values, rate))
    gone = _is_dropped(first)
    assert torch.equal(first[~gone], values[~gone])
    many = torch.stack([_is_dropped(drop(values[:200], rate)) for _ in range(100)])
    assert float(many.float().mean()) == pytest.approx(rate, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_what_is_dropped_is_zero_whatever_it_was_and_what_is_kept_is_not_taken_for_dropped(dtype: torch.dtype) -> None:
    values = torch.tensor([1.5, -2.0, torch.inf, -torch.inf, torch.nan, 0.0, -0.0], dtype=dtype).repeat(50)
    dropped = drop(values, 0.5)
    gone = _is_dropped(dropped)
    assert 0 < int(gone[6::7].sum()) < 50
    torch.testing.assert_close(dropped[~gone], values[~gone], rtol=0, atol=1e-7, equal_nan=True)
    again = drop_likewise_(values.clone(), dropped)
    torch.testing.assert_close(again, values.masked_fill(gone, 0.0), rtol=0, atol=0, equal_nan=True)


def test_fp16_products_are_summed_in_fp32_and_rounded_once() -> None:
    torch.manual_seed(0)
    left, right, summand = (torch.randn(*shape).half() for shape in ((8, 400), (400, 6), (8, 6)))
    exact = left.double() @ right.double()
    ulp = 2.0**-10 * exact.abs().clamp(min=2.0**-4)
    assert ((mm(left, right).double() - exact).abs() <= 0.52 * ulp).all()
    assert ((addmm(summand, left, right).double() - exact - summand.double()).abs() <= 0.52 * ulp + 2e-2).all()
    assert torch.equal(addmm_(summand.clone(), left, right), addmm(summand, left, right))
    assert mm(torch.full((1, 2), 300.0).half(), torch.full((2, 1), 300.0).half()).isinf().all()


@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed"])
def test_attention_between_16_bit_operands_is_nearer_to_fp32(precision: str) -> None:
    exact, _ = _loss_and_gradients(llama(), "fp32")
    _, expected = _loss_and_gradients(llama(), "fp32")
    model = llama()
    widen_attention(model)
    assert model.config._attn_implementation != "sdpa"
    loss, gradients = _loss_and_gradients(model, precision, 1024.0)
    assert loss == pytest.approx(exact, rel=1e-3)
    assert max(_distance(gradients[name], expected[name]) for name in expected) < 0.03


def test_padding_is_masked_in_wide_attention() -> None:
    model = llama()
    ids = torch.arange(1, 13).view(1, 12)
    padded = torch.cat([ids, torch.zeros(1, 5, dtype=torch.int64)], 1)
    mask = (padded != 0).long()
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        widen_attention(model)
        found = model(input_ids=padded, attention_mask=mask).logits[:, :12]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("tied", "dtype"), [(True, torch.bfloat16), (False, torch.bfloat16), (True, torch.float16)])
def test_a_converted_head_gives_the_same_bits_and_leaves_fp32_alone(tied: bool, dtype: torch.dtype) -> None:
    model = llama(tied=tied).requires_grad_(False)
    ids = torch.arange(20).view(1, 20)
    precision = PRECISIONS.get("bf16-mixed" if dtype is torch.bfloat16 else "fp16-mixed")

    def logits() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            wide = model(input_ids=ids).logits
            with autocast(precision, CPU):
                return wide, model(input_ids=ids).logits

    before = logits()
    keep_head_converted(model, dtype)
    assert all(torch.equal(one, other) for one, other in zip(before, logits(), strict=True))


def test_a_head_that_is_trained_is_not_copied() -> None:
    model = llama()
    keep_head_converted(model, torch.bfloat16)
    assert "forward" not in vars(model.get_output_embeddings())


@pytest.mark.parametrize("part", [10**9, 300])
def test_a_frozen_16_bit_weight_multiplies_as_its_fp32_copy_whole_or_in_parts(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.kernels.widen._PART", part)
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 50).bfloat16().requires_grad_(False)
    x = torch.randn(2, 7, 32, requires_grad=True)
    wide = x.detach().clone().requires_grad_()
    expected = F.linear(wide, layer.weight.float(), layer.bias.float())
    found = _linear(layer, x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    (found * 3).sum().backward()
    (expected * 3).sum().backward()
    torch.testing.assert_close(x.grad, wide.grad, rtol=1e-5, atol=1e-5)
