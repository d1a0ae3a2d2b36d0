"""What may be concluded from the rounds of a measurement of latency, and how it is said."""

from __future__ import annotations

import random

import pytest

from studio.engine.inference.figures import Latency, form_latency, ratio, spread
from studio.runner.words import latency_sentence

QUIET = [1.0, 1.01, 0.99, 1.02, 0.98, 1.01, 1.0, 0.99, 1.01]


def _sentence(prefill: list[float], token: list[float]) -> str:
    base = [(1.0, 0.01)] * len(token)
    own = [(one, 0.01 * two) for one, two in zip(prefill, token, strict=True)]
    forms = (form_latency("base", base, base), form_latency("merged", own, base))
    found = Latency(
        forms=forms, method="lora", device="cpu", dtype="fp32", prompt_tokens=8, new_tokens=4, rounds=9, switch_ms=None
    )
    return latency_sentence(found)


def test_noise_is_called_neither_slower_nor_faster() -> None:
    wide = [0.7, 1.4, 0.8, 0.95, 0.9, 1.3, 0.6, 0.94, 1.1]  # the median is 6 % below the base
    assert _sentence(QUIET, wide) == (
        "Merged, it showed no measurable difference to the base (prompt 0.99 to 1.01\u00a0×, each token 0.70 to 1.30\u00a0×)."
    )


def test_a_small_difference_in_every_round_is_told() -> None:
    slower = [1.03 + 0.002 * number for number in range(9)]
    assert "makes each token 3.8 % slower (1.03 to 1.04\u00a0×); reading the prompt showed no" in _sentence(
        QUIET, slower
    )


def test_what_is_faster_is_called_so() -> None:
    faster = [0.8 + 0.001 * number for number in range(9)]
    assert "reading the prompt 20 % faster (0.80 to 0.81\u00a0×) and each token 20 % faster" in _sentence(
        faster, faster
    )


def test_the_range_leaves_out_one_of_nine_rounds_at_each_end() -> None:
    found = spread([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    assert (found.low, found.median, found.high) == (2.0, 5.0, 8.0)


def test_rounds_pair_so_that_a_drift_of_the_machine_does_not_hide_a_difference() -> None:
    base = [1.0 + number for number in range(9)]
    assert ratio([1.1 * one for one in base], base).differs


@pytest.mark.parametrize(("rounds", "differs"), [(5, False), (6, True)])
def test_too_few_rounds_show_no_difference(rounds: int, differs: bool) -> None:
    assert ratio([2.0] * rounds, [1.0] * rounds).differs is differs


def test_of_two_hundred_measurements_of_the_same_model_few_are_told_apart() -> None:
    noise = random.Random(0)
    told = sum(
        ratio(
            [noise.lognormvariate(0, 0.2) for _ in range(9)], [noise.lognormvariate(0, 0.2) for _ in range(9)]
        ).differs
        for _ in range(200)
    )
    assert told <= 16  # 4 % are expected: 2 * (1 + 9) / 2^9
