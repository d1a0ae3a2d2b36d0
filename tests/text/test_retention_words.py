"""Every code of the report on retention has words, and the words say what the figures do."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config import parse_config
from studio.engine.training import retention_watch
from studio.events import RetentionMeasured
from studio.text import retention

REPORT: dict[str, Any] = {
    "verdict": "gained_and_lost",
    "remedies": ["lora", "more_general_rows"],
    "loss_before": 2.61,
    "loss_after": 1.42,
    "retention": 0.5,
    "kl": 0.8,
    "questions": 30,
    "right_before": 12,
    "right_after": 7,
    "update": 40,
    "result_update": 40,
    "stopped_early": False,
}


def _look(update: int, loss: float | None, kept: float) -> retention_watch._Look:
    measured = RetentionMeasured(
        step=update, update=update, perplexity=10.0 / kept, base_perplexity=10.0, kl=0.1, tokens=9
    )
    return retention_watch._Look(loss, measured)


def test_the_report_tells_losses_perplexity_questions_and_what_to_try() -> None:
    text = retention.report_text(REPORT)
    assert text.startswith("It learned the task and lost much")
    for part in ("from 2.610 to 1.420", "2.00 times", "12 of 30 before, 7 after", "take LoRA"):
        assert part in text


def test_a_run_that_ended_early_says_which_model_is_its_result() -> None:
    text = retention.report_text(REPORT | {"stopped_early": True, "result_update": 24})
    assert "ended early" in text
    assert "after update 24" in text


@pytest.mark.parametrize(
    ("loss", "kept", "verdict"),
    [
        (1.0, 1.02, "gained_and_kept"),
        (1.0, 0.9, "gained_and_mostly_kept"),
        (1.0, 0.5, "gained_and_lost"),
        (2.0, 0.5, "lost_for_nothing"),
        (2.0, 0.99, "nothing_gained"),
        (None, 0.5, "gained_and_lost"),
        (1.0, float("nan"), "unknown"),
    ],
)
def test_the_verdict_follows_from_both_losses(loss: float | None, kept: float, verdict: str) -> None:
    assert retention_watch._verdict(_look(0, 2.0 if loss else None, 1.0), _look(9, loss, kept)) == verdict


@pytest.mark.parametrize("verdict", retention.VERDICTS)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_verdict_and_every_remedy_has_words(verdict: str, method: str) -> None:
    config = parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d"}]}, "method": {"name": method}})
    remedies = retention_watch._remedies(config, verdict)
    assert set(remedies) <= set(retention.REMEDIES)
    assert ("lora" in remedies) == (
        method == "full" and verdict in ("gained_and_lost", "gained_and_mostly_kept", "lost_for_nothing")
    )
    assert retention.report_text(REPORT | {"verdict": verdict, "remedies": remedies})


def test_enough_general_rows_are_not_asked_for_again() -> None:
    tables: dict[str, Any] = {"model": {"path": "m"}, "data": {"sources": [{"path": "d"}], "replay_ratio": 0.3}}
    assert "more_general_rows" not in retention_watch._remedies(parse_config(tables), "gained_and_lost")
