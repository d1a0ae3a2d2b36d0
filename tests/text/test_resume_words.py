"""What is said of a run that goes on."""

from __future__ import annotations

from studio.engine.training.checkpoint import UnusableCheckpoint
from studio.text.resume import REASONS, resumed_text


def test_every_difference_and_every_checkpoint_passed_over_is_named() -> None:
    changes = {"training.learning_rate": 0.1, "versions.torch": "2.13.0", "machine.threads": "2", "data": "changed"}
    skipped = [{"name": "step-000060", "reason": "damaged"}, {"name": "step-000070", "reason": "half"}]
    text = resumed_text(50, 48, changes, skipped)
    for part in (
        "after update 48 (step 50)",
        "training.learning_rate = 0.1",
        "torch 2.13.0",
        "the number of threads (2)",
        "the rows of the data",
        "step-000060 was passed over: a file is damaged",
        "step-000070 was passed over: it was not written to its end",
    ):
        assert part in text
    assert "bit for bit" in text
    assert "bit for bit" not in resumed_text(50, 48, {}, [])


def test_every_reason_has_words() -> None:
    assert {"half", UnusableCheckpoint("", "damaged").reason, "incomplete"} <= REASONS.keys()
