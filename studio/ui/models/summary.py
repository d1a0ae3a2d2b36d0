"""One line about each run folder, read from its state alone, so that a thousand runs list in a moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.engine.control import Progress, no_progress
from studio.errors import RunFolderError
from studio.runs import RunFolder, list_runs


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What is known of a run without its journal. Times are seconds; None and "" are what is not known.

    `problem` is the sentence of a failed run, or of a folder that cannot be read (its status is then damaged).
    """

    folder: RunFolder
    status: str
    created: float | None = None
    model: str = ""
    method: str = ""
    precision: str = ""
    updates: int | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    seconds: float | None = None
    problem: str = ""


def read_summaries(root: Path, progress: Progress = no_progress) -> list[RunSummary]:
    """Return all runs below a folder, newest first; damaged ones are among them, not hidden."""
    folders = list_runs(root)
    summaries = []
    for done, folder in enumerate(folders):
        progress("reading_runs", done, len(folders))
        summaries.append(read_summary(folder))
    return summaries


def read_summary(folder: RunFolder) -> RunSummary:
    """Return what one folder says of itself."""
    try:
        state = folder.read_state()
    except RunFolderError as error:
        return RunSummary(folder=folder, status="damaged", problem=str(error))
    losses = _table(state, "validation_loss")
    return RunSummary(
        folder=folder,
        status=state["status"],
        created=_number(state, "created"),
        model=str(_table(state, "model").get("name", "")),
        method=str(state.get("method", "")),
        precision=str(state.get("precision", "")),
        updates=None if (updates := _number(state, "updates")) is None else int(updates),
        first_loss=_number(losses, "first"),
        last_loss=_number(losses, "last"),
        seconds=_number(state, "seconds"),
        problem=str(state.get("error", "")),
    )


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None
