"""The checks of an export at their limits, on outputs made by hand: each can fail, and NaN passes none of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from studio.engine.export.checks.outputs import output_checks
from studio.engine.export.checks.stop import never_generated
from studio.engine.export.compare import EQUAL, Comparison, Extra, Outputs, compare, record
from studio.engine.export.merge import NOTHING_LOST
from studio.engine.export.prefix import Prefix
from studio.engine.export.prompts import Prompt
from studio.engine.export.reference import Reference
from studio.engine.export.stopping import Stops

POSITIONS, VOCABULARY = 60, 8


def logits() -> torch.Tensor:
    return torch.randn(POSITIONS, VOCABULARY, generator=torch.Generator().manual_seed(0))


def reference(trained: torch.Tensor, **changes: Any) -> Reference:
    """A run whose training moved the first logit by 1, merged without an error and saved without rounding."""
    base = trained.clone()
    base[:, 0] -= 1
    prompt = Prompt((1, 2), 1, "rows.jsonl", 1)
    values: dict[str, Any] = {
        "prompts": (prompt,),
        "prefix": Prefix(tokenizer=None, ids=(9,)),  # type: ignore[arg-type]
        "base": Outputs((base,)),
        "trained": Outputs((trained,)),
        "quantisation": None,
        "asked": (),
        "merge": EQUAL,
        "rounding": EQUAL,
        "delta": NOTHING_LOST,
        "weights": None,
    }
    return Reference(**values | changes)


def failed(reference: Reference, outputs: torch.Tensor, dtype: str = "fp32") -> set[str]:
    found = compare(reference.trained, Outputs((outputs,)))
    checks = output_checks(reference, Outputs((outputs,)), found, dtype, "fp32")
    return {check.name for check in checks if not check.passed}


def test_equal_outputs_pass() -> None:
    assert failed(reference(logits()), logits()) == set()


def test_only_the_top1_check_sees_that_near_ties_were_turned_round() -> None:
    """Two tokens are all but equally likely everywhere: greedy answers differ, while no logit moves by 0.001."""
    trained = logits()
    trained[:, 6], trained[:, 7] = 5.0002, 5.0
    turned = trained.clone()
    turned[:, [6, 7]] = trained[:, [7, 6]]

    assert failed(reference(trained), turned) == {"top1_agreement"}


def test_top1_has_a_limit_however_much_the_rounding_explains() -> None:
    """Rounding that leaves the likeliest token at two in five positions would else allow an export without any."""
    trained, rounding = logits(), dataclasses.replace(EQUAL, top1_agreement=0.4)
    found = trained.clone()
    found[: POSITIONS * 3 // 5] = -trained[: POSITIONS * 3 // 5]

    assert "top1_agreement" in failed(reference(trained, rounding=rounding), found, "bf16")


def test_top1_counts_positions() -> None:
    trained = logits()
    found = trained.clone()
    found[:15] = -trained[:15]
    assert compare(Outputs((trained,)), Outputs((found,))).top1_agreement == 45 / 60


def test_one_nan_among_the_outputs_passes_no_comparison() -> None:
    found = logits()
    found[POSITIONS // 2, 3] = math.nan
    assert failed(reference(logits()), found) >= {"max_logit_difference", "kl_divergence", "delta_present"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_merge_that_is_not_a_number_away_is_no_exact_one(value: float) -> None:
    wrong = Comparison(max_logit_difference=value, kl_divergence=value, top1_agreement=1.0)
    assert "merge_exact" in failed(reference(logits(), merge=wrong), logits())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rounding_that_is_not_finite_explains_nothing(value: float) -> None:
    rounding = Comparison(max_logit_difference=value, kl_divergence=value, top1_agreement=1.0)
    found = logits()
    found[3, 3] = math.inf
    names = failed(reference(logits(), rounding=rounding), found, "fp16")
    assert names >= {"max_logit_difference", "kl_divergence"}


@pytest.mark.parametrize(("answer", "rows"), [(math.nan, 0.0), (0.0, math.nan), (2e-6, 0.0), (0.0, 2e-6)])
def test_virtual_tokens_that_may_be_said_fail_wherever_that_was_seen(answer: float, rows: float) -> None:
    known = reference(logits())
    check = never_generated(Outputs((), answer), Outputs((), rows), Stops(known.prompts[0], 3, (1, 2, 0)), known)
    assert not check.passed


def test_the_probability_of_virtual_tokens_is_nan_where_one_logit_is() -> None:
    class Answers(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            rows = torch.zeros(1, input_ids.shape[1], VOCABULARY)
            rows[0, -1, 0] = math.nan
            return type("Output", (), {"logits": rows})

    rows = [[1, 2, 3], [4, 5]]
    assert math.isnan(record(Answers(), rows, lambda *_: None, "verifying", Extra(left_out=(7,))).stray)
