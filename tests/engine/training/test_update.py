"""One update is the mathematics of the papers, however it is split, and nothing non-finite gets through."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from studio.config import PrecisionConfig
from studio.engine.precision.scaling import LossScaler
from studio.engine.training.trainer import decide
from tests.tiny import VOCABULARY, Bench, Row, bench, gpt2, llama, micro_batches, rows

LORA = {"name": "lora", "rank": 4, "alpha": 32, "dropout": 0.0}
FULL = {"name": "full"}
METHODS = {
    "lora": LORA,
    "rslora": LORA | {"rslora": True},
    "dora": LORA | {"dora": True},
    "full": FULL,
}
# Loss of four updates on 8 rows; made by this code once it had been checked against the oracle below.
EXPECTED = {
    ("lora", "fp32"): [5.7233477, 5.6718774, 5.6072922, 5.7291794],
    ("lora", "fp16-mixed"): [5.7233491, 5.6718841, 5.6072974, 5.729198],
    ("lora", "bf16-mixed"): [5.7233329, 5.6721029, 5.6078343, 5.7285743],
    ("rslora", "fp32"): [5.7233477, 5.7011323, 5.6501565, 5.6988792],
    ("rslora", "fp16-mixed"): [5.7233491, 5.7011442, 5.6505837, 5.6995683],
    ("rslora", "bf16-mixed"): [5.7233329, 5.7010365, 5.6495066, 5.7029781],
    ("dora", "fp32"): [5.7233477, 5.6862268, 5.6556954, 5.7223682],
    ("dora", "fp16-mixed"): [5.7233524, 5.6862335, 5.655684, 5.7223725],
    ("dora", "bf16-mixed"): [5.7233315, 5.6862636, 5.6556139, 5.7220998],
    ("full", "fp32"): [5.7233477, 5.3574123, 5.0835333, 5.7232137],
    ("full", "fp16-mixed"): [5.7233491, 5.3575478, 5.0838389, 5.7232795],
    ("full", "bf16-mixed"): [5.7233329, 5.3588347, 5.0853639, 5.7237611],
}


def _losses(method: str, precision: str) -> list[float]:
    tiny = bench(METHODS[method], {"name": precision, "initial_scale": 1024.0})
    return [tiny.update(rows(8, seed=seed)).loss for seed in (0, 0, 0, 1)]


def _gradients(tiny: Bench) -> Tensor:
    return torch.cat([p.grad.flatten() for p in tiny.parameters if p.grad is not None])


def _plain_loss(tiny: Bench, chosen: list[Row]) -> Tensor:
    """The definition, row by row with all logits: mean cross-entropy over the supervised tokens of all rows."""
    total, count = torch.zeros(()), 0
    for row in chosen:
        logits = tiny.model(input_ids=torch.tensor([row.input_ids])).logits[0]
        labels = torch.tensor(row.labels)[1:]
        total = total + F.cross_entropy(logits[:-1], labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return total / count


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_loss_and_gradients_are_those_of_the_definition(method: str, make: object) -> None:
    chosen = rows(8)
    ours, plain = (bench(METHODS[method], base=make(), max_grad_norm=0.0) for _ in range(2))  # type: ignore[operator]
    ours.model.eval()  # GPT-2 has dropout of its own
    plain.model.eval()
    attempt = ours.update(chosen, token_budget=64)
    expected = _plain_loss(plain, chosen)
    expected.backward()
    assert attempt.loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(_gradients(ours), _gradients(plain), rtol=1e-4, atol=1e-7)


def _opt() -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 64}
    return OPTForCausalLM(OPTConfig(vocab_size=VOCABULARY, num_hidden_layers=2, num_attention_heads=4, **sizes))


def _without_key_bias(name: str, weight: Tensor) -> Tensor:
    """A weight without the bias of the keys; in GPT-2 it is the middle third of a bias for queries, keys and values.

    It adds the same number to all scores of a query, which softmax takes out again, so its gradient is zero by nature.
    Adam divides what rounding makes of that zero by its own size, and the bias drifts at random without any effect.
    """
    if name.endswith("k_proj.bias"):
        return weight[:0]
    return weight[torch.arange(96) // 32 != 1] if name.endswith("c_attn.bias") else weight


@pytest.mark.parametrize("make", [llama, gpt2, _opt])
def test_full_fine_tuning_is_adamw_written_by_hand(make: Callable[[], PreTrainedModel]) -> None:
    """Matrices decay; biases and the gains of norms do not."""
    ours, plain = bench(FULL, base=make(), weight_decay=0.1), bench(FULL, base=make())
    for tiny in (ours, plain):
        tiny.model.eval()  # GPT-2 and OPT have dropout of their own
    named = dict(plain.model.named_parameters())
    matrices = [weight for weight in named.values() if weight.dim() == 2]
    vectors = [weight for weight in named.values() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3)
    start = {name: weight.detach().clone() for name, weight in named.items()}
    for seed in range(6):
        attempt = ours.update(rows(8, seed=seed), rate=2e-3, token_budget=120)
        optimizer.zero_grad()
        _plain_loss(plain, rows(8, seed=seed)).backward()
        norm = torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimizer.step()
        assert attempt.grad_norm == pytest.approx(float(norm), rel=1e-5)
    for name, weight in ours.model.named_parameters():
        # Of the whole way that a weight has moved: where a gradient is next to zero, Adam makes its rounding visible.
        apart, moved = weight.detach() - named[name].detach(), named[name].detach() - start[name]
        limit = 5e-4 * float(_without_key_bias(name, moved).norm())
        assert float(_without_key_bias(name, apart).norm()) <= limit, name


@pytest.mark.parametrize(("make", "keys"), [(gpt2, "c_attn.bias"), (_opt, "k_proj.bias")])
def test_the_bias_of_the_keys_has_no_gradient_but_rounding(make: Callable[[], PreTrainedModel], keys: str) -> None:
    tiny = bench(FULL, base=make(), max_grad_norm=0.0)
    attempt = tiny.update(rows(8))
    named = {name: weight for name, weight in tiny.model.named_parameters() if name.endswith(keys)}
    assert named
    for weight in named.values():
        assert weight.grad is not None
        assert (
            float(weight.grad[32:64].norm() if keys == "c_attn.bias" else weight.grad.norm()) < 1e-6 * attempt.grad_norm
        )


@pytest.mark.parametrize("method", ["lora", "full"])
def test_one_update_is_the_same_in_1_2_and_8_micro_batches(method: str) -> None:
    chosen = rows(8)
    results = []
    for budget, expected in ((10_000, 1), (170, 2), (1, 8)):
        tiny = bench(METHODS[method])
        assert len(micro_batches(chosen, budget)) == expected
        attempt = tiny.update(chosen, rate=2e-4, token_budget=budget)
        weights = torch.cat([p.detach().flatten() for p in tiny.parameters])
        results.append((attempt.loss, attempt.grad_norm, weights, _gradients(tiny)))
    for loss, norm, weights, gradients in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-6)
        assert norm == pytest.approx(results[0][1], rel=1e-6)
        assert float((gradients - results[0][3]).norm() / results[0][3].norm()) < 1e-6
        assert float((weights - results[0][2]).norm() / results[0][2].norm()) < 1e-6


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_losses_of_four_updates_are_the_stored_ones(method: str, precision: str) -> None:
    tolerance = 2e-5 if precision == "fp32" else 2e-3
    assert _losses(method, precision) == pytest.approx(EXPECTED[method, precision], rel=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_same_updates_repeat_bit_for_bit(method: str, precision: str) -> None:
    assert _losses(method, precision) == _losses(method, precision)


def test_gradients_are_clipped_after_they_were_unscaled() -> None:
    scaled = bench(LORA, {"name": "fp16-mixed", "loss_scaling": "static", "initial_scale": 1024.0}, max_grad_norm=1e-3)
    attempt = scaled.update(rows(8))
    assert attempt.grad_norm > 1e-3
    assert float(_gradients(scaled).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_gradient_norm_does_not_depend_on_the_scale() -> None:
    norms = []
    for scale in (1.0, 256.0, 65536.0):
        precision = {"name": "fp16-mixed", "loss_scaling": "static", "initial_scale": scale}
        norms.append(bench(LORA, precision).update(rows(8)).grad_norm)
    assert norms[1] == pytest.approx(norms[0], rel=5e-3)
    assert norms[2] == pytest.approx(norms[0], rel=5e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16-mixed", "bf16-mixed"])
def test_a_non_finite_gradient_never_reaches_the_weights(precision: str) -> None:
    tiny = bench(LORA, {"name": precision})
    tiny.update(rows(8))
    before = [p.detach().clone() for p in tiny.parameters]
    hook = tiny.parameters[3].register_hook(lambda gradient: torch.full_like(gradient, math.nan))
    attempt = tiny.update(rows(8))
    hook.remove()
    assert attempt.skipped
    assert math.isfinite(attempt.loss)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.parameters, strict=True))
    assert not tiny.update(rows(8)).skipped


def test_an_overflowing_scale_is_halved_until_it_fits() -> None:
    tiny = bench(LORA, {"name": "fp16-mixed", "initial_scale": 1e38})
    before = [p.detach().clone() for p in tiny.parameters]
    skipped = 0
    while tiny.update(rows(8)).skipped:
        skipped += 1
        assert skipped < 128
        assert all(torch.equal(a, b) for a, b in zip(before, tiny.parameters, strict=True))
    assert skipped > 5


@pytest.mark.parametrize("precision", ["fp16-mixed", "bf16-mixed"])
def test_frozen_weights_stored_in_16_bits_give_the_same_bits(precision: str) -> None:
    stored = bench(LORA, {"name": precision, "initial_scale": 1024.0})
    kept = bench(LORA, {"name": precision, "initial_scale": 1024.0, "base_dtype": "fp32"})
    for _ in range(3):
        assert stored.update(rows(8)) == kept.update(rows(8))
    assert {p.dtype for p in stored.parameters} == {torch.float32}


def test_the_output_layer_stays_tied_when_frozen_weights_are_stored_in_16_bits() -> None:
    tiny = bench(LORA, {"name": "bf16-mixed"})
    embedding, output = tiny.base.get_input_embeddings().weight, tiny.base.get_output_embeddings().weight
    assert embedding is output
    assert embedding.dtype == torch.float32


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_says_nothing_about_the_scale(loss: float) -> None:
    """It is computed before it is scaled. A scale that backs off at it would fall to its floor for nothing."""
    scaler = LossScaler(PrecisionConfig(growth_interval=3), 1024.0)
    for grad_norm in (math.nan, math.inf, 1.0):
        attempt = decide(loss, grad_norm, scaler, 1.0)
        assert attempt.skipped
        assert not attempt.retry
    assert (scaler.scale, scaler.good_updates) == (1024.0, 0)
    assert decide(2.0, math.inf, scaler, 1.0).retry
    assert scaler.scale == 512.0


def test_dropout_is_drawn_from_the_number_of_the_step_alone() -> None:
    tiny = bench(LORA | {"dropout": 0.5})
    chosen = rows(4)
    for adapter in tiny.parameters:  # so that what is dropped matters
        torch.nn.init.normal_(adapter, generator=torch.Generator().manual_seed(0))

    def loss_of(step: int) -> float:
        torch.rand(step)  # whatever was drawn before
        return tiny.trainer.attempt(chosen, step=step, learning_rate=0.0).loss  # type: ignore[arg-type]

    first = {step: loss_of(step) for step in (1, 2, 3)}
    assert len(set(first.values())) == 3
    assert {step: loss_of(step) for step in (3, 1, 2)} == first
