"""Activations that are computed again change nothing but memory: losses, gradients, samples are equal bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import override

from studio.config.numerics import NumericsConfig
from studio.engine import recompute
from studio.engine.kernels.lora import fuse_lora
from studio.engine.numerics.locate import locate_first
from studio.engine.numerics.recorder import Recorder
from studio.engine.recompute import blocks_of
from studio.engine.training.trainer import StepObserver
from studio.events import NumericsSampled
from tests.engine.methods.layouts import make
from tests.tiny import Bench, bench, rows

LORA = {"name": "lora", "rank": 4, "dropout": 0.2}
METHODS: dict[str, dict[str, object]] = {
    "lora": LORA,
    "dora": LORA | {"dora": True},
    "full": {"name": "full"},
    "frozen below": {"name": "full", "freeze_embeddings": True, "freeze_layers": 1},
    "bottleneck-adapter": {"name": "bottleneck-adapter", "bottleneck": 8},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 5},
    "p-tuning": {"name": "p-tuning", "virtual_tokens": 5},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 5},
}
PRECISIONS: dict[str, dict[str, object]] = {
    "fp32": {"name": "fp32"},
    "fp16-mixed": {"name": "fp16-mixed", "initial_scale": 1024.0},
    "bf16-mixed": {"name": "bf16-mixed"},
    "bf16-pure": {"name": "bf16-pure"},
    "fp16-pure": {"name": "fp16-pure", "initial_scale": 1024.0},
    "nf4": {"name": "bf16-mixed", "base_dtype": "nf4"},
    "int8": {"name": "bf16-mixed", "base_dtype": "int8"},
}
DROPS = {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2}


# Every method, every precision, and the pairs that take a way of their own through both.
CASES = [
    *((method, "bf16-mixed") for method in METHODS),
    *(("lora", precision) for precision in PRECISIONS if precision != "bf16-mixed"),
    ("full", "fp32"),
    ("full", "fp16-pure"),
    ("prefix-tuning", "fp16-mixed"),
    ("ia3", "int8"),
]


def moe() -> PreTrainedModel:
    """Two layers of Mixtral: four experts, of which a router chooses two."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.MixtralConfig(
        vocab_size=300, num_hidden_layers=2, num_local_experts=4, attention_dropout=0.2, **sizes
    )
    return transformers.MixtralForCausalLM(config).eval()


def model(layout: str) -> PreTrainedModel:
    if layout == "moe":
        return moe()
    return make(layout, **(DROPS if layout == "gpt2" else {"attention_dropout": 0.2, "hidden_dropout": 0.2}))


def both(layout: str, method: dict[str, object], precision: dict[str, object]) -> tuple[Bench, Bench]:
    """The same model twice: one keeps its activations, and one computes them again."""
    kept, again = (bench(method, precision, base=model(layout), recompute=on) for on in (False, True))
    return kept, again


def gradients(tiny: Bench) -> list[Tensor]:
    return [parameter.grad for parameter in tiny.parameters if parameter.grad is not None]


def assert_same(layout: str, method: dict[str, object], precision: dict[str, object]) -> None:
    kept, again = both(layout, method, precision)
    first, second = (tiny.update(rows(4), token_budget=60) for tiny in (kept, again))
    assert len(first.batches) > 1
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(gradients(kept), gradients(again), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters, again.parameters, strict=True))


@pytest.mark.parametrize(("method", "precision"), CASES)
def test_every_method_in_every_precision_learns_the_same(method: str, precision: str) -> None:
    assert_same("llama", METHODS[method], PRECISIONS[precision])


@pytest.mark.parametrize("method", ["lora", "prefix-tuning"])
def test_inputs_that_wait_on_the_host_give_the_same(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, again = both("llama", METHODS[method], PRECISIONS["bf16-mixed"])
    again.trainer.model.recomputation.on_host = True
    sent: list[Tensor] = []
    to_host = recompute._to_host
    monkeypatch.setattr(recompute, "_to_host", lambda tensor: sent.append(tensor) or to_host(tensor))
    first, second = (tiny.update(rows(4)) for tiny in (kept, again))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(gradients(kept), gradients(again), strict=True))
    assert {tensor.shape[-1] for tensor in sent if tensor.requires_grad} == {again.base.config.hidden_size}


@pytest.mark.parametrize(
    ("layout", "method", "precision"),
    [
        *((layout, "lora", "bf16-mixed") for layout in ("qwen2", "gemma2", "gpt2", "gpt-neox")),
        ("gemma2", "full", "fp32"),
        ("gpt2", "full", "fp32"),
    ],
)
def test_every_layout_learns_the_same(layout: str, method: str, precision: str) -> None:
    assert_same(layout, METHODS[method], PRECISIONS[precision])


@pytest.mark.parametrize("method", ["full", "prefix-tuning"])
def test_a_mixture_of_experts_learns_the_same(method: str) -> None:
    assert_same("moe", METHODS[method], PRECISIONS["bf16-mixed"])


class Sampling(StepObserver):
    """Takes a sample of each step."""

    def __init__(self, tiny: Bench) -> None:
        trainer = tiny.trainer
        self.recorder = Recorder(tiny.model, tiny.base, tiny.parameters, trainer.precision, NumericsConfig())
        self.scale = trainer.scaler.scale if trainer.scaler else None
        self.sample: NumericsSampled | None = None

    @override
    def first_micro_batch(self, step: int) -> AbstractContextManager[object]:
        return self.recorder.watching(self.scale)

    @override
    def see_gradients(self, step: int) -> None:
        self.sample = self.recorder.sample(step, self.scale, "cadence")


@pytest.mark.parametrize(("method", "precision"), [("lora", "fp16-mixed"), ("full", "fp32"), ("prefix-tuning", "fp32")])
def test_a_sample_counts_every_number_once(method: str, precision: str) -> None:
    samples = []
    for tiny in both("llama", METHODS[method], PRECISIONS[precision]):
        seen = Sampling(tiny)
        tiny.update(rows(6), observer=seen)
        assert seen.sample is not None
        samples.append({name: getattr(seen.sample, name) for name in NumericsSampled.__slots__ if name != "time"})
    assert str(samples[0]) == str(samples[1])  # nan is not equal to itself


@contextmanager
def breaking(block: nn.Module, direction: str) -> Iterator[None]:
    """Let what leaves the attention of a block overflow: its output, or the gradient by it."""

    def broken(module: nn.Module, args: object, output: tuple[Tensor, object]) -> tuple[Tensor, object]:
        if direction == "forward":
            return output[0] * torch.inf, output[1]
        if output[0].requires_grad:
            output[0].register_hook(lambda gradient: gradient * torch.inf)
        return output

    handle = block.self_attn.register_forward_hook(broken)  # type: ignore[union-attr, operator]
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_failure_is_found_in_the_same_place(direction: str) -> None:
    places = []
    for tiny in both("llama", LORA, PRECISIONS["bf16-mixed"]):
        with breaking(list(blocks_of(tiny.base))[1], direction):
            attempt = tiny.update(rows(4))
            assert attempt.skipped
            places.append(locate_first(tiny.trainer.replay(attempt.batches, None), attempt.batches[0]))
    assert places[0] is not None
    assert places[0] == places[1]


def test_the_first_pass_of_a_new_model_may_be_computed_again() -> None:
    """Layers that read the same input are computed together, and a repetition must not begin with that."""
    kept, again = both("llama", LORA, PRECISIONS["bf16-mixed"])
    for tiny in (kept, again):
        fuse_lora(tiny.trainer.model.model)  # as if nothing had gone through it yet
    assert kept.update(rows(4)) == again.update(rows(4))
