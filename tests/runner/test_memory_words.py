"""Memory that ran out is told in words that say how the run goes on."""

from __future__ import annotations

import dataclasses

import pytest

from studio.engine.estimate import Estimate
from studio.events import MemoryMeasured, MicroBatchShrunk, from_json, to_json
from studio.runner.actions import Remedy
from studio.runner.memory_words import choices_text, measured_text, remedy_text, shrunk_text
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


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"precision.base_dtype": "nf4"}, "Store the base in 4 bits (nf4)"),
        ({"training.recompute": "auto"}, "Recompute activations"),
        ({"training.optimizer": "adamw-8bit"}, "Optimizer states in 8 bits"),
        ({"method.name": "lora"}, "Train with LoRA"),
        ({"method.rank": 8, "data.max_length": 512}, "Rank 8 + Rows of 512 tokens at most"),
    ],
)
def test_a_remedy_says_everything_that_it_changes_and_whether_it_is_enough(
    overrides: dict[str, object], words: str
) -> None:
    remedy = Remedy(name="together", overrides=overrides, total_bytes=5 * 2**30, fits=True)
    assert remedy_text(remedy) == f"{words}: 5 GB"
    assert remedy_text(dataclasses.replace(remedy, fits=False)) == f"{words}: 5 GB, not enough"


@pytest.mark.parametrize("on_host", [False, True])
@pytest.mark.parametrize("words_on_host", [False, True])
def test_what_waits_in_the_memory_of_the_computer_is_told_once(on_host: bool, words_on_host: bool) -> None:
    choices = {
        "recompute": on_host,
        "on_host": on_host,
        "words_on_host": words_on_host,
        "base_dtype": "bf16",
        "shards": 1,
        "cards": (),
    }
    needs = Estimate(
        trainable_parameters=0,
        total_parameters=0,
        patch_bytes=0,
        bytes={},
        total_bytes=0,
        available_bytes=0,
        device_bytes=0,
        device="cuda",
        rows=4,
        choices=choices,
    )
    words = choices_text(needs)
    assert words.count("the computer's memory") == (on_host or words_on_host)
    assert ("inputs of the layers" in words, "the embedding" in words) == (on_host, words_on_host)
