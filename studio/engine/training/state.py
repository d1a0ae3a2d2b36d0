"""How far a run has come, what it tells while it runs, and what it notes in state.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from studio.engine.control import Control, Progress
from studio.events import (
    EvaluationCompleted,
    ProgressReported,
    RetentionMeasured,
    RetentionReported,
    RunEvent,
    StepCompleted,
    from_json,
    spell_non_finite,
    to_json,
)

Emit: TypeAlias = Callable[[RunEvent | ProgressReported], None]


@dataclass
class Position:
    """How far a run has come: `step` attempts, `update` applied updates, `batch` batches taken from the data."""

    step: int = 0
    update: int = 0
    batch: int = 0

    def advance(self, *, skipped: bool, retry: bool) -> None:
        """Count one attempt. After a skipped step the next batch comes, unless the same rows are to be tried again."""
        self.step += 1
        self.update += not skipped
        self.batch += not retry


class Losses:
    """The losses of a run so far, from its own events, so that a list of runs need not read every journal.

    All are means per supervised token, in nats.
    """

    def __init__(self) -> None:
        self._training: float | None = None
        self._validation: list[float] = []
        self._retention: RetentionMeasured | RetentionReported | None = None

    def note(self, event: RunEvent | ProgressReported) -> None:
        """Take in one event of the run."""
        if isinstance(event, StepCompleted):
            self._training = event.loss
        elif isinstance(event, EvaluationCompleted):
            self._validation.append(event.loss)
        elif isinstance(event, RetentionMeasured | RetentionReported):
            self._retention = event

    def to_json(self) -> dict[str, Any]:
        """Return all of it for a checkpoint."""
        retention = None if self._retention is None else json.loads(to_json(self._retention))
        kept: dict[str, Any] = spell_non_finite({"training": self._training, "validation": self._validation})
        return {**kept, "retention": retention}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned."""
        self._training = None if kept["training"] is None else float(kept["training"])
        self._validation = [float(loss) for loss in kept["validation"]]
        retention = kept["retention"] and from_json(json.dumps(kept["retention"]))
        self._retention = retention if isinstance(retention, RetentionMeasured | RetentionReported) else None

    def state(self) -> dict[str, Any]:
        """Return the entries for state.json: `loss`, the last one, `validation_loss`: first, last and best, and
        `retention`, where it was measured: itself and `kl`.

        First and best are of the finite ones where there are any: nothing can be compared with nan.
        """
        measured = self._validation
        comparable = [loss for loss in measured if math.isfinite(loss)] or measured
        validation = {"first": comparable[0], "last": measured[-1], "best": min(comparable)} if measured else {}
        state: dict[str, Any] = {"loss": self._training, "validation_loss": validation}
        if self._retention:
            state["retention"] = {"retention": self._retention.retention, "kl": self._retention.kl}
        spelled: dict[str, Any] = spell_non_finite(state)
        return spelled


def progress_events(control: Control, emit: Emit, wait_while_paused: Callable[[], None]) -> Progress:
    """Return a progress function that emits events, waits where that is asked for, and raises `Cancelled` once a stop
    was requested.
    """

    def report(stage: str, done: int, total: int) -> None:
        wait_while_paused()
        emit(ProgressReported(stage=stage, done=done, total=total))

    return control.reporting(report)
