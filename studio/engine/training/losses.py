"""What state.json tells of a run's losses, so that a list of runs need not read every journal."""

from __future__ import annotations

from typing import Any

from studio.events import EvaluationCompleted, ProgressReported, RunEvent, StepCompleted, spell_non_finite


class Losses:
    """The losses of a run so far, taken from its own events: means per supervised token."""

    def __init__(self) -> None:
        self._training: float | None = None
        self._validation: list[float] = []

    def note(self, event: RunEvent | ProgressReported) -> None:
        """Take in one event of the run."""
        if isinstance(event, StepCompleted):
            self._training = event.loss
        elif isinstance(event, EvaluationCompleted):
            self._validation.append(event.loss)

    def state(self) -> dict[str, Any]:
        """Return the entries for state.json: `loss`, the last one, and `validation_loss`, first, last and best."""
        measured = self._validation
        validation = {"first": measured[0], "last": measured[-1], "best": min(measured)} if measured else {}
        state: dict[str, Any] = spell_non_finite({"loss": self._training, "validation_loss": validation})
        return state
