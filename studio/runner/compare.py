"""Runs beside each other: in which settings they differ, and what came of each. Read from their folders alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.config import RunConfig
from studio.engine.control import Progress, no_progress
from studio.runner.record import RunRecord
from studio.runner.speed import WARM_UP
from studio.runs import RunFolder

LOSS_WINDOW = 16
"""Steps over which the training loss is averaged; that of a single step depends on its rows more than on the run."""


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """What came of one run; None where it was not measured. Losses are mean nats a supervised token.

    Attributes:
        run: the absolute path of its folder.
        training_loss: the mean over the last `LOSS_WINDOW` steps with a finite loss.
        best_validation_loss: the smallest finite one.
        tokens_per_second: over all steps but the first `WARM_UP`, padding not counted.
        peak_memory: bytes, of a run that ended well.
        retention: base perplexity divided by perplexity.
    """

    run: str
    name: str
    status: str
    updates: int
    training_loss: float | None
    first_validation_loss: float | None
    last_validation_loss: float | None
    best_validation_loss: float | None
    tokens_per_second: float | None
    peak_memory: int | None
    retention: float | None


@dataclass(frozen=True)
class Comparison:
    """`settings` has, by dotted key, the values of all runs in their order, for the settings that are not all equal.

    A value is None where a run leaves the setting open or its method does not have it.
    """

    settings: dict[str, list[Any]]
    runs: list[RunFigures]


def compare_runs(folders: Sequence[RunFolder], progress: Progress = no_progress) -> Comparison:
    """Return how runs differ. Of a run whose settings were changed on its way, the last ones count.

    Raises:
        ConfigError: a run's configuration cannot be read.
        RunFolderError: a state or a journal cannot be read.
    """
    settings, figures = [], []
    for folder in folders:
        record = RunRecord.of_folder(folder, progress)
        settings.append(dict(_flat(record.configs[-1][1])))
        figures.append(_figures(folder, record))
    return Comparison(differing(settings), figures)


def differing(settings: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values, one a run, of the keys whose values are not all equal."""
    keys = dict.fromkeys(key for values in settings for key in values)
    found = {key: [values.get(key) for values in settings] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flat(config: RunConfig) -> Iterator[tuple[str, Any]]:
    yield from _entries("", config.model_dump(mode="json"))


def _entries(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the settings inside a table: section.key, and data.sources[0].path of the first source."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _entries(f"{key}.{name}" if key else name, inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for place, inner in enumerate(value):
            yield from _entries(f"{key}[{place}]", inner)
    else:
        yield key, value


def _figures(folder: RunFolder, record: RunRecord) -> RunFigures:
    state, validation = record.state, record.series["validation"].y
    finite = validation[np.isfinite(validation)]
    return RunFigures(
        run=str(folder.path),
        name=folder.name,
        status=state.status,
        updates=state.update,
        training_loss=record.series["loss"].smoothed(LOSS_WINDOW).last,
        first_validation_loss=float(validation[0]) if len(validation) else None,
        last_validation_loss=state.validation_loss,
        best_validation_loss=float(finite.min()) if len(finite) else None,
        tokens_per_second=_speed(record),
        peak_memory=state.peak_memory or None,
        retention=state.retention,
    )


def _speed(record: RunRecord) -> float | None:
    seconds, tokens = record.series["seconds"].y, record.series["tokens"].y
    first = WARM_UP if len(seconds) > WARM_UP else 0
    total = float(seconds[first:].sum())
    return float(tokens[first:].sum()) / total if total > 0 else None
