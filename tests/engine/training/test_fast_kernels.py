"""Kernels are used only after they agreed with the plain ones, and a run says which it took."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

from studio.engine.training.fast_kernels import choose_kernels
from studio.events import KernelsChosen, from_json, to_json
from studio.runner.record import RunRecord
from studio.text.words import kernels_text
from tests.tiny import Bench, bench

TOKENS = list(range(1, 31))


def _liger(monkeypatch: pytest.MonkeyPatch, norm: Callable[[Any, Any], Any], kind: str = "llama") -> None:
    """Install a library that gives every norm of a model a forward of its own, and turns as transformers does."""
    from transformers.models.llama import modeling_llama

    def patch(model: Any, **parts: bool) -> None:
        assert parts == {"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False}
        modeling_llama.LlamaRMSNorm = type("LigerRMSNorm", (), {})  # for all models to come, as Liger does
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.offset = 0.0
                module.forward = types.MethodType(norm, module)

    patching, rope = types.ModuleType("monkey_patch"), types.ModuleType("rope")
    patching.__dict__.update(MODEL_TYPE_TO_APPLY_LIGER_FN={kind: patch}, _apply_liger_kernel_to_instance=patch)
    rope.__dict__["liger_rotary_pos_emb"] = modeling_llama.apply_rotary_pos_emb
    for name, module in {"": types.ModuleType("liger"), ".monkey_patch": patching, ".rope": rope}.items():
        monkeypatch.setitem(sys.modules, f"liger_kernel.transformers{name}", module)
    monkeypatch.setitem(sys.modules, "liger_kernel", types.ModuleType("liger_kernel"))


def _right(norm: Any, x: Any) -> Any:
    return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


def _wrong(norm: Any, x: Any) -> Any:
    return 1.01 * _right(norm, x)


def _wrong_backward(norm: Any, x: Any) -> Any:
    return _right(norm, x) + 0.1 * (x - x.detach())


def _broken(norm: Any, x: Any) -> Any:
    raise RuntimeError("ptxas fatal: Value 'sm_120' is not defined")


def _choose(tiny: Bench) -> tuple[str, list[str], KernelsChosen]:
    event = choose_kernels(tiny.trainer.model, tiny.trainer.precision, TOKENS)
    return event.kernels, [one["outcome"] for one in event.tried], event


def _forwards(tiny: Bench) -> set[str]:
    """The kinds of modules, beside LoRA's layers, that have a forward of their own."""
    return {type(m).__name__ for m in tiny.base.modules() if "forward" in m.__dict__ and not hasattr(m, "lora_A")}


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16-pure"])
def test_liger_is_used_where_it_agrees(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama import modeling_llama

    before = dict(vars(modeling_llama))
    _liger(monkeypatch, _right)
    tiny = bench(precision={"name": precision})
    kernels, outcomes, event = _choose(tiny)
    assert (kernels, outcomes) == ("liger", ["agreed"])
    assert event.tried[0]["loss"] < 1e-2
    norms = [module for module in tiny.base.modules() if type(module).__name__ == "LlamaRMSNorm"]
    assert all(module.forward.__func__ is _right for module in norms)
    assert dict(vars(modeling_llama)) == before, "models that are loaded later must not meet Liger"


@pytest.mark.parametrize(
    ("norm", "outcome"), [(_wrong, "disagreed"), (_wrong_backward, "disagreed"), (_broken, "failed")]
)
def test_liger_is_left_alone_where_it_does_not(norm: Any, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _liger(monkeypatch, norm)
    tiny = bench()
    kernels, outcomes, event = _choose(tiny)
    assert (kernels, outcomes) == ("torch", [outcome, "agreed"])
    assert not any(hasattr(module, "offset") for module in tiny.base.modules())
    assert "Those of Liger" in kernels_text(event.kernels, event.tried)
    assert from_json(to_json(event)) == event
    record = RunRecord()
    record.apply(event)
    assert record.state.kernels == "torch"


def test_without_any_that_agrees_the_model_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def nonsense(base: Any) -> bool:
        base.model.layers[1].mlp.forward = lambda x: x
        return True

    monkeypatch.setattr("studio.engine.training.fast_kernels.KERNELS", {"torch": nonsense})
    tiny = bench()
    before = _forwards(tiny)
    assert _choose(tiny)[:2] == ("plain", ["disagreed"])
    assert _forwards(tiny) == before


def test_without_liger_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    assert _choose(bench())[:2] == ("torch", ["not_installed", "agreed"])
    monkeypatch.undo()
    _liger(monkeypatch, _right, kind="qwen2")
    assert _choose(bench())[:2] == ("torch", ["not_for_this_model", "agreed"])


def test_choosing_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.engine.training.fast_kernels.KERNELS", {})
    tiny = bench({"name": "lora", "rank": 4, "dropout": 0.5})
    weights = [parameter.detach().clone() for parameter in tiny.parameters]
    torch.manual_seed(3)
    _choose(tiny)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(*pair) for pair in zip(weights, tiny.parameters, strict=True))
    assert all(parameter.grad is None for parameter in tiny.parameters)
