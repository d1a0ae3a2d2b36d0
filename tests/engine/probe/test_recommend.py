"""What the probe advises, from rows as it measures them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from studio.engine.probe.recommend import ProbeRow, judgement, recommend


def _row(name: str, **changes: Any) -> ProbeRow:
    plain = ProbeRow(
        precision=name,
        status="measured",
        losses=(2.0, 1.0),
        loss_differences=(0.0, 0.001),
        gradient_cosine=0.9995,
        gradients_lost=0.0,
        tokens_per_second=100.0,
        peak_memory=10**9,
        native=True,
    )
    return replace(plain, **changes)


FP32 = _row("fp32", loss_differences=(0.0, 0.0), gradient_cosine=1.0)
BAD = {
    "loss": {"loss_differences": (0.0, 0.05)},
    "loss that is nan": {"loss_differences": (float("nan"),)},
    "gradients": {"gradient_cosine": 0.9},
    "zeros": {"gradients_lost": 0.4},
    "not finite": {"status": "not_finite"},
    "failed": {"status": "failed"},
}


BF16 = _row("bf16-mixed")
FP16 = _row("fp16-mixed")
ON_PROCESSOR = {"remark": "fp16_on_processor"}
NO_BF16 = ProbeRow(precision="bf16-mixed", status="unavailable", sentence="This GPU has no bf16.")
EMULATED = {"native": False}


def at(speed: float, row: ProbeRow, **changes: Any) -> ProbeRow:
    return replace(row, tokens_per_second=speed, **changes)


@pytest.mark.parametrize(
    ("bf16", "fp16", "expected"),
    [
        pytest.param(at(200.0, BF16), at(230.0, FP16), "bf16-mixed", id="a GPU with bf16"),
        pytest.param(at(100.0, BF16), at(300.0, FP16), "bf16-mixed", id="a GPU with bf16, which is no faster"),
        pytest.param(at(68.0, BF16), at(140.0, FP16), "bf16-mixed", id="noise slows bf16 down"),
        pytest.param(at(60.0, BF16), at(60.0, FP16), "fp32", id="a tiny model that is clearly slower in bf16"),
        pytest.param(NO_BF16, at(220.0, FP16), "fp16-mixed", id="an older GPU"),
        pytest.param(NO_BF16, at(140.0, FP16), "fp32", id="an older GPU, on which fp16 is not clearly faster"),
        pytest.param(at(200.0, BF16), at(500.0, FP16, **ON_PROCESSOR), "bf16-mixed", id="a processor with bf16"),
        pytest.param(at(20.0, BF16, **EMULATED), at(500.0, FP16, **ON_PROCESSOR), "fp32", id="one without, fp16 fast"),
        pytest.param(at(140.0, BF16, **EMULATED), at(20.0, FP16, **ON_PROCESSOR), "fp32", id="one without, bf16 alike"),
        pytest.param(
            at(200.0, BF16, **EMULATED), at(90.0, FP16, **ON_PROCESSOR), "bf16-mixed", id="bf16 fast all the same"
        ),
    ],
)
def test_the_advice_is_the_customary_precision_of_the_hardware_unless_another_is_clearly_faster(
    bf16: ProbeRow, fp16: ProbeRow, expected: str
) -> None:
    assert recommend([FP32, bf16, fp16])[0] == expected


@pytest.mark.parametrize("noise", [0.75, 1.0, 1.3])
@pytest.mark.parametrize("remark", [{}, ON_PROCESSOR])
def test_noise_in_the_speeds_and_a_little_memory_do_not_change_the_advice(noise: float, remark: dict[str, str]) -> None:
    rows = [FP32, at(100.0 * noise, BF16), at(100.0 / noise, FP16, peak_memory=10**8, **remark)]
    assert recommend(rows)[0] == "bf16-mixed"
    emulated = [FP32, at(100.0 * noise, BF16, **EMULATED), rows[2]]
    assert recommend(emulated)[0] == "fp32"


def test_the_reason_says_what_speaks_for_it() -> None:
    _, why = recommend([FP32, at(200.0, BF16), at(230.0, FP16)])
    assert "computes bf16 itself" in why
    assert "2 times the speed" in why
    _, why = recommend([FP32, at(20.0, BF16, **EMULATED)])
    assert "not clearly faster" in why
    _, why = recommend([FP32, NO_BF16, at(220.0, FP16)])
    assert "2.2 times the speed" in why


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_does_not_follow_fp32_is_not_taken_however_fast(change: dict[str, Any]) -> None:
    rows = [FP32, at(200.0, BF16, **change), _row("bf16-pure", tokens_per_second=200.0, **change)]
    name, why = recommend(rows)
    assert name == "fp32"
    assert "closely enough" in why


def test_weights_without_a_master_copy_are_not_taken_while_another_works() -> None:
    pure = _row("bf16-pure", tokens_per_second=1000.0, peak_memory=1)
    assert recommend([FP32, BF16, pure, _row("fp16-pure", tokens_per_second=1000.0)])[0] == "bf16-mixed"
    assert recommend([FP32, pure])[0] == "fp32"
    out_of_memory = ProbeRow(precision="fp32", status="failed", sentence="The memory was not enough.")
    alone = replace(pure, loss_differences=None, gradient_cosine=None, gradients_lost=None)
    name, why = recommend([out_of_memory, alone])
    assert name == "bf16-pure"
    assert "could not be measured" in why


def test_the_nearest_to_fp32_is_named_where_nothing_follows_it_and_nothing_where_nothing_works() -> None:
    gone = ProbeRow(precision="fp32", status="failed", sentence="The memory was not enough.")
    lossy = _row("fp16-mixed", gradients_lost=0.3)
    name, why = recommend([gone, lossy, _row("bf16-pure", updates_lost=0.9)])
    assert name == "fp16-mixed"
    assert "30 %" in why
    assert recommend([gone]) == (None, "No precision works here: The memory was not enough.")


def test_each_row_says_how_it_compares() -> None:
    assert judgement(_row("bf16-mixed")) == "Follows fp32."
    assert "5 %" in judgement(_row("bf16-mixed", **BAD["loss"]))
    assert "0.900" in judgement(_row("bf16-mixed", **BAD["gradients"]))
    assert "60 %" in judgement(_row("bf16-pure", updates_lost=0.6))
    assert judgement(_row("fp16-pure")).startswith("For study")
    assert (
        judgement(replace(FP16, **ON_PROCESSOR))
        == "On a processor fp16 is for seeing its numerics; bf16 or fp32 is faster there."
    )
