"""Memory that ran out is told in words that say how the run goes on."""

from __future__ import annotations

import pytest

from studio.events import MemoryMeasured, MicroBatchShrunk, from_json, to_json
from studio.runner.memory_words import measured_text, shrunk_text
from studio.runner.record import RunRecord


@pytest.mark.parametrize("during", ["trial", "training", "optimizer", "evaluation"])
def test_a_smaller_micro_batch_is_told_and_kept_in_the_journal(during: str) -> None:
    event = MicroBatchShrunk(step=3, during=during, tokens_before=8192, tokens=4096, recompute=False)
    assert from_json(to_json(event)) == event
    assert "4096 tokens" in shrunk_text(event)
    record = RunRecord()
    record.apply(event)
    assert record.state.shrunk == event


def test_what_was_measured_is_told() -> None:
    event = MemoryMeasured(
        rows=4, length=1024, peak=7 * 10**9, available=8 * 10**9, micro_batch_tokens=4096, recompute=True
    )
    assert from_json(to_json(event)) == event
    assert "4 of 1024 tokens" in measured_text(event)
    assert "recomputed" in measured_text(event)
    record = RunRecord()
    record.apply(event)
    assert record.state.memory == event


def test_where_rows_cannot_be_fewer_activations_are_computed_again() -> None:
    event = MicroBatchShrunk(step=1, during="training", tokens_before=512, tokens=512, recompute=True)
    assert "again" in shrunk_text(event)
