"""What the measurement of latency measures; the figures themselves are nobody's to assert."""

from __future__ import annotations

from typing import Any

import pytest

from studio.engine.inference.latency import measure_latency
from studio.errors import Cancelled, ExportError

FORMS = {
    "lora": ({}, ["base", "live", "merged"]),
    "ia3": ({"name": "ia3"}, ["base", "live", "merged"]),
    "full": ({"name": "full"}, ["base", "merged"]),
    "bottleneck-adapter": ({"name": "bottleneck-adapter"}, ["base", "live"]),
    "prompt-tuning": ({"name": "prompt-tuning", "virtual_tokens": 4}, ["base", "live"]),
    "prefix-tuning": ({"name": "prefix-tuning", "virtual_tokens": 4}, ["base", "live"]),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_that_a_method_has_is_measured(make_run: Any, name: str) -> None:
    method, forms = FORMS[name]
    found = measure_latency(make_run(method=method), prompt_tokens=8, new_tokens=4, rounds=2, device="cpu")
    assert [form.form for form in found.forms] == forms
    assert (found.method, found.device, found.dtype) == (name, "cpu", "fp32")
    assert (found.prompt_tokens, found.new_tokens, found.rounds) == (8, 4, 2)
    base = found.forms[0]
    assert (base.prefill_ratio.median, base.token_ratio.median) == (1.0, 1.0)
    for form in found.forms:
        assert form.prefill_ms.low > 0
        assert form.tokens_per_second == pytest.approx(1000 / form.token_ms.median)


def test_the_switch_is_timed_where_there_is_something_to_switch(make_run: Any) -> None:
    lora = measure_latency(make_run(), prompt_tokens=8, new_tokens=4, rounds=2, device="cpu")
    assert lora.switch_ms is not None
    assert lora.switch_ms > 0
    full = measure_latency(make_run(method={"name": "full"}), prompt_tokens=8, new_tokens=4, rounds=1, device="cpu")
    assert full.switch_ms is None


def test_a_table_of_learnt_positions_limits_the_prompt(make_run: Any) -> None:
    run = make_run("gpt2", method={"name": "prompt-tuning", "virtual_tokens": 4})
    fits = measure_latency(run, prompt_tokens=505, new_tokens=4, rounds=1, device="cpu")
    assert fits.prompt_tokens == 505  # 512 positions, 4 virtual tokens, and the last token is never read
    with pytest.raises(ExportError, match="512 positions: 4 new tokens leave 505"):
        measure_latency(run, prompt_tokens=506, new_tokens=4, rounds=1, device="cpu")
    assert measure_latency(run, new_tokens=500, rounds=1, device="cpu").prompt_tokens == 9


def test_the_forms_take_turns_and_a_cancel_ends_it(make_run: Any) -> None:
    seen: list[tuple[int, int]] = []

    def until_the_second_round(stage: str, done: int, total: int) -> None:
        if stage == "measuring":
            seen.append((done, total))
            if done == 4:
                raise Cancelled("enough")

    with pytest.raises(Cancelled):
        measure_latency(make_run(), prompt_tokens=8, new_tokens=4, rounds=3, progress=until_the_second_round)
    assert seen == [(done, 12) for done in range(5)]
