"""What a run's journal tells in figures, for the model card."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from studio.events import DataPrepared, OverflowDiagnosed, RunFinished, StepCompleted
from studio.runs import RunFolder, read_journal


@dataclass
class Summary:
    """Figures of one run; None where its journal does not tell.

    Attributes:
        data: what the rows became.
        steps: attempted updates; `skipped` were not applied, because a gradient was not finite.
        grad_scale: the loss scale of the last step; None without loss scaling.
        verdicts: how often each class of verdict was given.
    """

    data: DataPrepared | None = None
    steps: int = 0
    skipped: int = 0
    grad_scale: float | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    trainable_parameters: int | None = None


def read_summary(folder: RunFolder) -> Summary:
    """Return the figures of a run, in one pass over its journal."""
    summary = Summary()
    for event in read_journal(folder.journal):
        if isinstance(event, StepCompleted):
            summary.steps += 1
            summary.skipped += event.skipped
            summary.grad_scale = event.grad_scale
        elif isinstance(event, DataPrepared):
            summary.data = event
        elif isinstance(event, OverflowDiagnosed):
            summary.verdicts[event.verdict] += 1
        elif isinstance(event, RunFinished):
            summary.trainable_parameters = event.trainable_parameters or None
    return summary
