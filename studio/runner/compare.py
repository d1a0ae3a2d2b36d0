"""Runs beside each other: in which settings they differ, and what came of each. Read from their folders alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.config import RunConfig
from studio.i18n import gettext_noop, tr
from studio.runner.record import RunRecord
from studio.runner.speed import WARM_UP
from studio.text import numbers
from studio.text.retention import retention_share
from studio.text.words import status_text

LOSS_WINDOW = 16
"""Steps over which the training loss is averaged; that of a single step depends on its rows more than on the run."""


# Title and words of each figure that a run may have; what was not measured is a dash.
_FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "status": (gettext_noop("Status"), status_text),
    "updates": (gettext_noop("Updates"), numbers.whole),
    "training_loss": (gettext_noop("Training loss, last steps"), numbers.number),
    "first_validation_loss": (gettext_noop("Validation loss, first"), numbers.number),
    "last_validation_loss": (gettext_noop("Validation loss, last"), numbers.number),
    "best_validation_loss": (gettext_noop("Validation loss, best"), numbers.number),
    "tokens_per_second": (gettext_noop("Tokens a second"), numbers.whole),
    "peak_memory": (gettext_noop("Peak memory"), numbers.size_text),
    "retention": (gettext_noop("Retention"), retention_share),
}


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


def compare_runs(records: Sequence[RunRecord]) -> Comparison:
    """Return how runs, read from their folders, differ. Where settings were changed on the way, the last ones count.

    Raises:
        ConfigError: a run's configuration cannot be read.
    """
    settings = [dict(_flat(record.configs[-1][1])) for record in records]
    return Comparison(differing(settings), [_figures(record) for record in records])


def figure_rows(compared: Comparison) -> list[list[str]]:
    """Return a row of texts for each figure: its title, then that of every run."""
    rows = []
    for name, (title, words) in _FIGURES.items():
        found = (getattr(run, name) for run in compared.runs)
        rows.append([tr(title), *(numbers.NONE if value is None else words(value) for value in found)])
    return rows


def setting_rows(compared: Comparison) -> list[list[str]]:
    """Return a row of texts for each setting that differs: its dotted key, then the value of every run."""
    return [[key, *map(_setting, values)] for key, values in compared.settings.items()]


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


def _figures(record: RunRecord) -> RunFigures:
    folder = record.folder
    assert folder is not None
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


def _setting(value: Any) -> str:
    """Return a value as it is typed in a configuration, a text without its quotes."""
    if value is None:
        return numbers.NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
