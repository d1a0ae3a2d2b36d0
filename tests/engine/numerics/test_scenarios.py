"""Runs made to go wrong, one for each class of verdict, trained for real: each ends in its verdict and no other.

Models and rows are of other sizes, families and seeds than those that the thresholds were tried on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel

from studio.engine.numerics.verdicts import VERDICTS
from studio.engine.training import loop
from studio.runner.numerics import share_lost
from tests.engine.numerics.scenario import LORA, Scenario, gpt2, llama

BENIGN = {verdict.name for verdict in VERDICTS if not verdict.harmful}
FULL = {"name": "full"}
Make: TypeAlias = Callable[..., PreTrainedModel]
STILL = {"learning_rate": 1e-6, "batch_size": 8}  # all rows in every update, and next to no change: equal gradients


@pytest.fixture(scope="module", params=[llama, gpt2])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


@pytest.fixture(scope="module")
def largest_scale(make: Make, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The largest power of two that the gradients of this model on eight rows can be multiplied by."""
    settings = {"precision": {"initial_scale": 2.0**24}, "training": STILL | {"max_steps": 1}}
    scale = Scenario(tmp_path_factory.mktemp("search"), make(), rows=8, **settings).train().steps[-1].grad_scale
    assert scale is not None
    return scale


def rescale(model: LlamaForCausalLM, factor: float) -> LlamaForCausalLM:
    """Multiply what flows between the layers; the norms undo that, and divide the gradients by as much."""
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(factor)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(factor)
            layer.mlp.down_proj.weight.mul_(factor)
    return model


def share_shown(done: Scenario) -> float | None:
    """What the window shows of the sample that the first verdict rests on."""
    return share_lost(done.samples[done.diagnosed[0].step], "fp16")


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed"])
def test_a_clean_run_ends_without_a_word(tmp_path: Path, make: Make, precision: str) -> None:
    settings = {"name": precision, "initial_scale": 4096.0}
    done = Scenario(tmp_path, make(), precision=settings, numerics={"every": 3}).train()
    assert done.verdicts == []
    assert not any(step.skipped for step in done.steps)
    assert done.steps[-1].loss < done.steps[0].loss


def test_a_warm_up_with_three_skips_ends_without_any_warning(tmp_path: Path, make: Make, largest_scale: float) -> None:
    done = Scenario(tmp_path, make(), rows=8, precision={"initial_scale": 8 * largest_scale}, training=STILL).train()
    assert [step.skipped for step in done.steps[:5]] == [True, True, True, False, False]
    assert sum(step.skipped for step in done.steps) == 3
    assert done.verdicts == ["scale_search"]
    assert not done.diagnosed[0].harmful
    assert done.diagnosed[0].evidence["skipped"] == 3


def test_a_scale_that_starts_far_too_high_is_searched_for(tmp_path: Path, make: Make) -> None:
    done = Scenario(tmp_path, make(), precision={"initial_scale": 2.0**30}).train()
    assert sum(step.skipped for step in done.steps) > 5
    assert done.verdicts == ["scale_search"]
    assert not done.error


def test_a_larger_scale_that_does_not_fit_is_a_probe(tmp_path: Path, make: Make, largest_scale: float) -> None:
    precision = {"initial_scale": largest_scale, "growth_interval": 22}
    done = Scenario(tmp_path, make(), rows=8, precision=precision, training=STILL | {"max_steps": 30}).train()
    assert done.verdicts == ["growth_probe"]
    assert done.diagnosed[0].evidence["tried_scale"] == 2 * largest_scale


def test_growths_that_fail_every_few_updates_are_chronic(tmp_path: Path, make: Make, largest_scale: float) -> None:
    precision = {"initial_scale": largest_scale, "growth_interval": 3}
    done = Scenario(tmp_path, make(), rows=8, precision=precision, training=STILL | {"max_steps": 24}).train()
    assert done.verdicts == ["chronic_overflow"]
    assert not done.error


def test_growths_that_fail_on_rows_of_all_kinds_are_chronic_and_nothing_else(tmp_path: Path) -> None:
    """Then the scale falls twice now and then, which is no new search."""
    precision = {"initial_scale": 2.0**15, "growth_interval": 4}
    training = {"learning_rate": 1e-5, "max_steps": 60}
    done = Scenario(tmp_path, llama(), rows=24, precision=precision, training=training).train()
    assert done.verdicts == ["chronic_overflow"]


def test_a_fixed_scale_that_is_too_large_is_chronic(tmp_path: Path, make: Make) -> None:
    precision = {"loss_scaling": "static", "initial_scale": 2.0**23}
    done = Scenario(tmp_path, make(), precision=precision).train()
    assert done.verdicts == ["chronic_overflow"]
    assert done.diagnosed[0].remedies[0] == "use_dynamic_scaling"
    assert "fixed loss scale" in done.error


@pytest.mark.parametrize("layers", [1, 4])
def test_gradients_too_large_at_the_lowest_scale_are_a_collapse(tmp_path: Path, layers: int) -> None:
    model = rescale(llama(num_hidden_layers=layers, rms_norm_eps=1e-30), 1e-9)
    done = Scenario(tmp_path, model, precision={"initial_scale": 32.0}).train()
    assert done.verdicts == ["scale_collapse"]
    assert all(math.isfinite(step.loss) for step in done.steps)
    assert "scale" in done.error


def test_an_inner_layer_beyond_fp16_is_a_forward_overflow(tmp_path: Path) -> None:
    model = gpt2()
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight.mul_(4e5)
        model.transformer.h[1].mlp.c_proj.weight.mul_(1e-5)
    done = Scenario(tmp_path, model).train()
    assert done.verdicts == ["forward_overflow"]
    assert done.diagnosed[0].evidence["module"] == "transformer.h.1.mlp.c_fc"
    assert len({step.grad_scale for step in done.steps}) == 1  # which no scale can help is not answered with one


def test_a_layer_whose_result_exceeds_fp16_is_a_forward_overflow(tmp_path: Path) -> None:
    done = Scenario(tmp_path, rescale(llama(initializer_range=0.12), 2e5)).train()
    assert done.verdicts == ["forward_overflow"]
    assert done.diagnosed[0].evidence["module"].startswith("model.layers.0.")


def test_a_weight_that_fp16_cannot_store_is_no_damage_of_the_model(tmp_path: Path) -> None:
    model = llama()
    with torch.no_grad():
        model.model.layers[2].mlp.gate_proj.weight[3, 5] = 2e5
    done = Scenario(tmp_path, model).train()
    assert done.verdicts == ["forward_overflow"]
    assert "model.layers.2.mlp.gate_proj" in done.diagnosed[0].sentence
    assert "use_bf16" in done.diagnosed[0].remedies
    assert Scenario(tmp_path / "wide", model, precision={"name": "bf16-mixed"}).train().verdicts == []


def test_gradients_below_fp16_are_an_underflow(tmp_path: Path) -> None:
    model = gpt2()
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(1e-5)
    settings = {"numerics": {"every": 2}, "training": {"max_steps": 8}}
    done = Scenario(tmp_path, model, precision={"loss_scaling": "off"}, **settings).train()
    assert done.verdicts == ["underflow"]
    assert share_shown(done) == done.diagnosed[0].evidence["share"]
    raised = {"loss_scaling": "static", "initial_scale": 2.0**16}
    assert Scenario(tmp_path / "raised", model, precision=raised, **settings).train().verdicts == []


@pytest.mark.parametrize("method", [FULL, LORA])
def test_gradients_lost_behind_the_last_layer_are_an_underflow(tmp_path: Path, method: dict[str, Any]) -> None:
    """The output layer's own gradients are fine, and would hide it that next to none arrive anywhere else."""
    settings: dict[str, Any] = {"data": {"train_on": "all"}, "numerics": {"every": 2}, "method": method}
    settings["training"] = {"max_steps": 8, "batch_size": 18}
    loud = rescale(llama(initializer_range=0.1), 1e4)
    done = Scenario(tmp_path, loud, precision={"loss_scaling": "off"}, **settings).train()
    assert done.verdicts == ["underflow"]
    assert share_shown(done) == done.diagnosed[0].evidence["share"]
    raised = {"loss_scaling": "static", "initial_scale": 1024.0}
    assert Scenario(tmp_path / "raised", loud, precision=raised, **settings).train().verdicts == []


def test_steps_that_bf16_weights_do_not_feel_are_a_stall(tmp_path: Path, make: Make) -> None:
    settings = {"method": FULL, "numerics": {"every": 2}, "training": {"learning_rate": 1e-5}}
    done = Scenario(tmp_path, make(), precision={"name": "bf16-pure"}, **settings).train()
    assert done.verdicts == ["bf16_stall"]
    by_chance = {"name": "bf16-pure", "stochastic_rounding": True}
    assert Scenario(tmp_path / "chance", make(), precision=by_chance, **settings).train().verdicts == []


def test_a_weight_that_breaks_while_training_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = loop.Loop._next_attempt

    def with_a_fault_of_memory(self: loop.Loop) -> None:
        attempt(self)
        if self.position.step == 4:
            base = self.trainer.model.base
            assert isinstance(base, GPT2LMHeadModel)
            base.transformer.h[2].attn.c_attn.weight.data[1, 7] = math.nan

    monkeypatch.setattr(loop.Loop, "_next_attempt", with_a_fault_of_memory)
    done = Scenario(tmp_path, gpt2(), precision={"name": "bf16-mixed"}).train()
    assert done.verdicts == ["nonfinite_weights"]
    assert "transformer.h.2.attn.c_attn" in done.diagnosed[0].sentence
    assert "restore_checkpoint" in done.diagnosed[0].remedies


def test_rows_on_which_the_loss_is_no_number_are_named(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, gpt2(tie_word_embeddings=False), rows=20, precision={"name": "fp32"})
    scenario.break_token("~")
    scenario.write_row("Reverse: ~ember grove", "grove ember~.")
    done = scenario.train(token_budget=256)  # several micro-batches to an update
    assert done.verdicts == ["nonfinite_loss"]
    assert {row["number"] for row in done.diagnosed[0].evidence["rows"]} == {21}
    assert "1 of " in done.diagnosed[0].sentence
    assert done.diagnosed[0].remedies[0] == "skip_rows"
    assert not done.error


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_steps_ever_longer_explode_the_gradients(tmp_path: Path, seed: int) -> None:
    training = {"learning_rate": 10.0, "warmup_ratio": 0.3, "schedule": "constant", "max_steps": 50, "seed": seed}
    model = llama(hidden_size=96)
    done = Scenario(tmp_path, model, precision={"name": "fp32"}, method=FULL, training=training).train()
    assert done.verdicts == ["exploding_gradients"]
    assert all(math.isfinite(step.grad_norm) for step in done.steps)


def test_what_is_benign_is_not_harmful() -> None:
    assert {"scale_search", "growth_probe"} == BENIGN
