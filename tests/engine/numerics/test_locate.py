"""The module that is named is the one where the damage was done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from studio.config.numerics import NumericsConfig
from studio.engine.data.batching import MicroBatch
from studio.engine.numerics import locate
from studio.engine.numerics.facts import Direction, FirstNonFinite
from studio.engine.numerics.locate import exceeds_fp16, locate_first
from studio.engine.numerics.modules import in_forward_order, visible_modules
from studio.engine.numerics.recorder import Recorder
from studio.engine.numerics.replay import Replay
from studio.engine.numerics.trace import Place
from studio.engine.precision import PRECISIONS
from tests.tiny import Bench, bench, gpt2, llama, micro_batches, rows

METHODS = {
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 4, "dropout": 0.05},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 4},
    "p-tuning": {"name": "p-tuning", "virtual_tokens": 4},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 4},
    "dora": {"name": "lora", "rank": 4, "dora": True},
    "ia3": {"name": "ia3"},
    "bottleneck-adapter": {"name": "bottleneck-adapter"},
    "upper layers": {"name": "full", "freeze_layers": 1},
}
LINEAR = {
    llama: [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ],
    gpt2: ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
}
ATTENTION = {llama: "self_attn", gpt2: "attn"}
LAYERS = {llama: "model.layers", gpt2: "transformer.h"}
CASES = [
    pytest.param(make, method, id=f"{make.__name__}-{method}") for make in (llama, gpt2) for method in ("full", "lora")
]
EVERY_METHOD = [
    pytest.param(make, method, id=f"{make.__name__}-{method}") for make in (llama, gpt2) for method in METHODS
]
Make = Callable[[], PreTrainedModel]


def _bench(make: Make, method: str, precision: str = "fp16-mixed") -> Bench:
    # Stored in fp32, so that a huge weight is a finite number, as it is in a checkpoint.
    return bench(METHODS[method], {"name": precision, "base_dtype": "fp32"}, base=make())


def _batch() -> MicroBatch:
    return micro_batches(rows(8))[0]


def _locate(tiny: Bench, *, scale: float | None = 1024.0, **changes: Any) -> FirstNonFinite | None:
    batch = _batch()
    given = {
        "model": tiny.model,
        "base": tiny.base,
        "loss": tiny.loss,
        "autocast": tiny.trainer.autocast,
        "scale": scale,
        "supervised": batch.supervised,
    }
    return locate_first(Replay(**(given | changes)), batch)


def _linear_layers(tiny: Bench, make: Make) -> Iterator[tuple[str, nn.Module]]:
    for layer in range(2):
        for part in LINEAR[make]:
            name = f"{LAYERS[make]}.{layer}.{part}"
            yield name, tiny.base.get_submodule(name)


@contextmanager
def _huge(parameter: Tensor) -> Iterator[None]:
    before = parameter.detach().clone()
    parameter.data.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 1e8)
    yield
    parameter.data.copy_(before)


@pytest.mark.parametrize(("make", "method"), EVERY_METHOD)
def test_a_huge_weight_is_found_in_whichever_layer_it_is(make: Make, method: str) -> None:
    tiny = _bench(make, method)
    for name, module in _linear_layers(tiny, make):
        with _huge(getattr(module, "base_layer", module).weight):
            found = _locate(tiny)
        assert found is not None
        assert (found.module, found.direction, found.exceeds_fp16) == (name, "forward", True)
        assert 0.0 < found.largest_before < 100.0
    assert _locate(tiny) is None


def test_a_huge_adapter_is_found_under_the_name_of_the_layer_it_adapts() -> None:
    tiny = _bench(llama, "lora")
    for name, module in _linear_layers(tiny, llama):
        with _huge(module.lora_B["default"].weight):  # type: ignore[index,union-attr]
            found = _locate(tiny)
        assert found is not None
        assert (found.module, found.direction) == (name, "forward")


def _break(gradient: Tensor) -> Tensor:
    return gradient * math.inf


def _break_output(module: nn.Module, inputs: object, output: Any) -> None:
    tensor = output[0] if isinstance(output, tuple) else output
    if tensor.requires_grad:  # what is frozen, with nothing trained before it, has no gradient
        tensor.register_hook(_break)


def _break_input(module: nn.Module, inputs: tuple[Tensor | None, ...], outputs: object) -> tuple[Tensor | None, ...]:
    return tuple(_break(g) if g is not None and g.is_floating_point() else g for g in inputs)


def _have_gradient(tiny: Bench, names: list[str]) -> list[str]:
    """Of these modules, those through whose output a gradient flows."""
    found: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: (
            found.append(name) if (output[0] if isinstance(output, tuple) else output).requires_grad else None
        )

    handles = [tiny.base.get_submodule(name).register_forward_hook(note(name)) for name in names]
    _locate(tiny)
    for handle in handles:
        handle.remove()
    return [name for name in names if name in found]


@pytest.mark.parametrize(("make", "method"), EVERY_METHOD)
def test_a_broken_gradient_is_found_in_whichever_layer_or_block_it_breaks(make: Make, method: str) -> None:
    tiny = _bench(make, method)
    blocks = [f"{LAYERS[make]}.{layer}" for layer in range(2)]
    names = _have_gradient(tiny, [*(name for name, _ in _linear_layers(tiny, make)), *blocks])
    assert {name for name in names if f"{LAYERS[make]}.1" in name}
    for name in names:
        hook = tiny.base.get_submodule(name).register_forward_hook(_break_output)
        found = _locate(tiny)
        hook.remove()
        assert found is not None
        # A bottleneck adapter's output is that of the layer that it stands behind.
        assert (found.module.removesuffix(".adapter"), found.direction) == (name, "backward")
        assert found.exceeds_fp16 is not None
        assert 0.0 < found.largest_before < 65504.0
    assert _locate(tiny) is None


def _broken_before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    copied = args[0] * 1.0
    if copied.requires_grad:
        copied.register_hook(_break)
    return (copied, *args[1:])


@pytest.mark.parametrize(("make", "method"), EVERY_METHOD)
def test_a_gradient_that_breaks_within_the_attention_is_found_there_and_not_laid_on_fp16(
    make: Make, method: str
) -> None:
    tiny = _bench(make, method)
    attention = f"{LAYERS[make]}.1.{ATTENTION[make]}"
    last = {llama: "self_attn.o_proj", gpt2: "attn.c_proj"}[make]
    hook = tiny.base.get_submodule(f"{LAYERS[make]}.1.{last}").register_forward_pre_hook(_broken_before)
    found = _locate(tiny)
    hook.remove()
    assert found is not None
    assert (found.module, found.direction, found.exceeds_fp16) == (attention, "backward", False)


@pytest.mark.parametrize(("make", "method"), EVERY_METHOD)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_every_module_can_be_computed_again_in_fp32(make: Make, method: str, direction: Direction) -> None:
    tiny = _bench(make, method)
    batch = _batch()
    replay = Replay(
        model=tiny.model,
        base=tiny.base,
        loss=tiny.loss,
        autocast=tiny.trainer.autocast,
        scale=1024.0,
        supervised=batch.supervised,
    )
    called = in_forward_order(dict(visible_modules(tiny.base)), lambda: tiny.loss(batch))
    for name, module in called.items():
        has_lists = any(isinstance(inner, nn.ModuleList) for inner in module.modules())
        assert exceeds_fp16(replay, batch, Place(name, direction, 1.0)) is (None if has_lists else True)


NORM = {llama: "post_attention_layernorm", gpt2: "ln_2"}
WIDENING = {llama: "mlp.up_proj", gpt2: "mlp.c_fc"}
QUANTISED = [
    pytest.param(make, base_dtype, method, id=f"{make.__name__}-{base_dtype}-{method}")
    for make, base_dtype, method in (
        (llama, "nf4", "lora"),
        (llama, "nf4", "bottleneck-adapter"),
        (gpt2, "nf4", "dora"),
        (llama, "int8", "dora"),
        (gpt2, "int8", "lora"),
    )
]


def _quantised(make: Make, base_dtype: str, method: str, loud: float = 1.0) -> Bench:
    """The weights of one layer, and what enters it, are so many times larger than at first."""
    base = make()
    block = base.get_submodule(f"{LAYERS[make]}.1")
    with torch.no_grad():
        for name in (NORM[make], WIDENING[make]):
            block.get_parameter(f"{name}.weight").mul_(loud)
    return bench(METHODS[method], {"name": "fp16-mixed", "base_dtype": base_dtype}, base=base)


@pytest.mark.parametrize(("make", "base_dtype", "method"), QUANTISED)
def test_a_quantised_layer_beyond_fp16_is_computed_again_by_its_rounded_weights_in_fp32(
    make: Make, base_dtype: str, method: str
) -> None:
    found = _locate(_quantised(make, base_dtype, method, 2e3))
    assert found is not None
    assert (found.module, found.direction) == (f"{LAYERS[make]}.1.{WIDENING[make]}", "forward")
    assert found.exceeds_fp16


@pytest.mark.parametrize(("make", "base_dtype", "method"), QUANTISED)
def test_a_quantised_layer_that_breaks_in_every_format_is_not_laid_on_fp16(
    make: Make, base_dtype: str, method: str
) -> None:
    tiny = _quantised(make, base_dtype, method)
    assert _locate(tiny) is None
    name = f"{LAYERS[make]}.1.{WIDENING[make]}"
    module = tiny.base.get_submodule(name)
    module.register_forward_hook(lambda module, inputs, output: output / 0.0)
    found = _locate(tiny)
    assert found is not None
    assert (found.module, found.direction, found.exceeds_fp16) == (name, "forward", False)
    assert "forward" not in vars(getattr(module, "base_layer", module))  # it trains as before


@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_gradient_that_breaks_inside_a_module_is_told_from_one_that_was_broken_before(make: Make) -> None:
    tiny = _bench(make, "full")
    for name, module in _linear_layers(tiny, make):
        hook = module.register_full_backward_hook(_break_input)
        found = _locate(tiny)
        hook.remove()
        assert found is not None
        assert (found.module, found.direction) == (name, "backward")


@pytest.mark.parametrize(("make", "method"), CASES)
def test_a_broken_gradient_of_a_weight_is_found_at_the_layer_that_has_it(make: Make, method: str) -> None:
    tiny = _bench(make, method)
    for name, module in _linear_layers(tiny, make):
        for parameter in (p for p in module.parameters() if p.requires_grad):
            hook = parameter.register_hook(_break)
            found = _locate(tiny)
            hook.remove()
            assert found is not None
            assert (found.module, found.direction) == (name, "backward")


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "prefix-tuning"])
def test_a_broken_gradient_of_virtual_tokens_is_found_at_what_makes_them(method: str) -> None:
    tiny = _bench(llama, method)
    trained = [(name, p) for name, p in tiny.model.named_parameters() if p.requires_grad]
    assert trained
    for name, parameter in trained:
        hook = parameter.register_hook(_break)
        found = _locate(tiny)
        hook.remove()
        assert found is not None
        assert found.module == name.replace(".default", "").rpartition(".")[0]
        assert (found.direction, found.exceeds_fp16) == ("backward", None)
    assert _locate(tiny) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_what_is_broken_in_every_precision_is_found_and_not_laid_on_fp16(precision: str) -> None:
    tiny = _bench(llama, "full", precision)

    def divide(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output / 0.0

    hook = tiny.base.get_submodule("model.layers.1.mlp.up_proj").register_forward_hook(divide)
    found = _locate(tiny, scale=None)
    hook.remove()
    assert found is not None
    assert (found.module, found.direction, found.exceeds_fp16) == ("model.layers.1.mlp.up_proj", "forward", False)


def test_a_product_of_two_outputs_that_overflows_is_found_in_the_module_that_multiplies() -> None:
    tiny = _bench(llama, "full")
    with torch.no_grad():
        for part in ("gate_proj", "up_proj"):
            tiny.base.get_parameter(f"model.layers.1.mlp.{part}.weight").mul_(2e4)
    found = _locate(tiny)
    assert found is not None
    assert (found.module, found.direction, found.exceeds_fp16) == ("model.layers.1.mlp", "forward", True)


def test_a_residual_gradient_beyond_fp16_is_found_in_the_block_that_rounds_it() -> None:
    found = _locate(_bench(llama, "lora"), scale=2.0**22)
    assert found is not None
    assert (found.module, found.direction) == ("model.layers.1", "backward")
    assert found.largest_before > 65504.0


def _infinite(module: nn.Module, inputs: object, output: Tensor, sign: float = -math.inf) -> Tensor:
    """The first entry of each vector becomes infinite, as a bias beyond fp16 makes it."""
    return output + torch.zeros_like(output).index_fill(-1, torch.tensor(0), sign)


def _before_a_relu(tiny: Bench, make: Make) -> None:
    tiny.base.get_submodule(f"{LAYERS[make]}.0.{WIDENING[make]}").register_forward_hook(_infinite)
    activation = {llama: "mlp.up_proj", gpt2: "mlp.act"}[make]
    tiny.base.get_submodule(f"{LAYERS[make]}.0.{activation}").register_forward_hook(
        lambda module, inputs, output: torch.relu(inputs[0] if make is gpt2 else output)
    )


def _under_a_soft_cap(tiny: Bench, make: Make) -> None:
    made, capped = {llama: ("mlp.down_proj", "mlp"), gpt2: ("mlp.c_fc", "mlp.act")}[make]
    tiny.base.get_submodule(f"{LAYERS[make]}.0.{made}").register_forward_hook(partial(_infinite, sign=math.inf))
    tiny.base.get_submodule(f"{LAYERS[make]}.0.{capped}").register_forward_hook(
        lambda module, inputs, output: 30.0 * torch.tanh((output if make is llama else inputs[0]) / 30.0)
    )


def _like_a_mask(tiny: Bench, make: Make) -> None:
    tiny.base.get_output_embeddings().register_forward_hook(_infinite)  # type: ignore[union-attr]


HARMLESS = {"before a ReLU": _before_a_relu, "under a soft cap": _under_a_soft_cap, "like a mask": _like_a_mask}


@pytest.mark.parametrize("plant", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize(("make", "method"), [(llama, "lora"), (llama, "full"), (gpt2, "prefix-tuning")])
def test_an_infinity_that_does_no_harm_is_not_blamed_for_what_the_scale_does(
    make: Make, method: str, plant: Callable[[Bench, Make], None]
) -> None:
    tiny = _bench(make, method)
    plant(tiny, make)
    assert _locate(tiny, scale=1.0) is None
    found = _locate(tiny, scale=2.0**24)
    assert found is not None
    assert found.direction == "backward"
    # Something else that fails is found beside it.
    other = f"{LAYERS[make]}.1.{WIDENING[make]}"
    tiny.base.get_submodule(other).register_forward_hook(lambda module, inputs, output: output * math.nan)
    found = _locate(tiny)
    assert found is not None
    assert (found.module, found.direction) == (other, "forward")


def test_an_infinity_that_breaks_the_gradients_at_every_scale_is_blamed_although_the_loss_is_finite() -> None:
    tiny = _bench(llama, "full")
    name = "model.layers.0.mlp"
    tiny.base.get_submodule(f"{name}.down_proj").register_forward_hook(_infinite)
    tiny.base.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: torch.where(output.isfinite(), output, 0.0) + 0.0 * output.exp().sqrt()
    )
    found = _locate(tiny, scale=1.0)
    assert found is not None
    assert (found.module, found.direction) == (f"{name}.down_proj", "forward")


def test_a_weight_that_is_infinite_on_purpose_is_not_blamed_for_what_the_scale_does() -> None:
    tiny = _bench(gpt2, "full")
    final = tiny.base.get_submodule("transformer.h.1.mlp.c_fc")
    final.bias.data[3] = -math.inf
    tiny.base.get_submodule("transformer.h.1.mlp.act").register_forward_hook(
        lambda module, inputs, output: torch.relu(inputs[0])
    )
    assert _locate(tiny, scale=2.0**24) is not None
    assert _locate(tiny, scale=2.0**24).direction == "backward"  # type: ignore[union-attr]


def test_a_scale_that_the_gradient_of_the_loss_does_not_survive_is_no_modules_fault() -> None:
    found = _locate(_bench(llama, "full"), scale=1e30)
    assert found == FirstNonFinite(module="", direction="backward", largest_before=1e30)


def test_a_loss_that_is_no_number_after_a_finite_forward_pass_is_named_as_such() -> None:
    tiny = _bench(llama, "full")
    found = _locate(tiny, loss=lambda batch, weight: tiny.loss(batch, weight) * math.nan)
    assert found is not None
    assert (found.module, found.direction) == ("", "loss")
    assert 0.0 < found.largest_before < 10.0


@pytest.mark.parametrize(("make", "method"), CASES)
def test_a_weight_that_is_no_number_is_named_whichever_it_is(make: Make, method: str) -> None:
    tiny = _bench(make, method)
    for name, parameter in tiny.model.named_parameters():
        first = parameter.detach().view(-1)[0].item()
        parameter.data.view(-1)[0] = math.nan
        found = _locate(tiny)
        parameter.data.view(-1)[0] = first
        assert found is not None
        assert found.direction == "weights"
        module = name.removeprefix("base_model.model.").replace(".base_layer", "").partition(".lora_")[0]
        assert found.module == module.removesuffix(".weight").removesuffix(".bias")


def test_the_training_state_stays_as_it_was() -> None:
    tiny = _bench(llama, "lora")
    tiny.update(rows(8))
    tiny.base.model.layers[0].eval()
    gradients = [None if p.grad is None else p.grad.clone() for p in tiny.parameters]
    weights = [p.detach().clone() for p in tiny.model.parameters()]
    modes = [module.training for module in tiny.model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.model.modules()]
    random = torch.get_rng_state()
    for scale in (1024.0, 1e30, 2.0**22):
        _locate(tiny, scale=scale)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in tiny.model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.model.modules()] == hooks
    assert all(torch.equal(a, b) for a, b in zip(weights, tiny.model.parameters(), strict=True))
    for before, parameter in zip(gradients, tiny.parameters, strict=True):
        assert (before is None) == (parameter.grad is None)
        assert before is None or torch.equal(before, parameter.grad)  # type: ignore[arg-type]


def test_the_replay_can_be_sampled_on_the_way() -> None:
    tiny = _bench(llama, "full")
    batch, scale = _batch(), 2.0**22
    recorder = Recorder(tiny.model, tiny.base, tiny.parameters, PRECISIONS.get("fp16-mixed"), NumericsConfig())
    given = (tiny.model, tiny.base, tiny.loss, tiny.trainer.autocast)
    replay = Replay(
        **dict(zip(("model", "base", "loss", "autocast"), given, strict=True)), scale=scale, supervised=batch.supervised
    )
    found = locate_first(replay, batch, recorder=recorder)
    sample = recorder.sample(3, scale, "skip")
    assert found is not None
    modules = recorder.started().modules
    assert sample.because == "skip"
    assert sample.gradient_non_finite[modules.index("model.layers.1.mlp.down_proj")] > 0.0
    assert sample.gradient_largest[modules.index(found.module)] * scale == pytest.approx(found.largest_before, rel=1e-4)


def test_a_defect_of_the_second_computation_leaves_the_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> bool:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(locate, "exceeds_fp16", fail)
    found = _locate(_bench(llama, "lora"), scale=2.0**22)
    assert found is not None
    assert (found.module, found.direction, found.exceeds_fp16) == ("model.layers.1", "backward", None)
    assert "sizes do not match" in caplog.text
