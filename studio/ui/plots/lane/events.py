"""The events of a run that the lane shows, row by row: where they are and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.i18n import gettext_noop, sentences, tr
from studio.runner.numerics import floor_steps, scale_growths
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.runner.verdicts import verdict_words
from studio.text import numbers


def skip_text(record: RunRecord, step: int, at_floor: bool) -> str:
    """Return why a step was skipped and what that did to the scale."""
    scale, loss = record.series["grad_scale"], record.series["loss"].at(step)
    before, after = scale.at(step), scale.at(step + 1)
    values = {"step": f"{step:,}", "before": numbers.scale(before), "after": numbers.scale(after)}
    if loss is not None and not math.isfinite(loss) and after in (None, before):
        words = tr("step {step} was skipped: its loss was {loss}")
        if before is not None:
            words = tr("step {step} was skipped: its loss was {loss}, which leaves the scale at {before}")
        return words.format(loss=numbers.number(loss), **values)
    if before is None:
        words = tr("step {step} was skipped: a gradient was not finite")
    elif at_floor:
        words = tr("step {step} was skipped, and the scale stays at its floor, {before}")
    elif after is None:
        words = tr("step {step} was skipped at scale {before}")
    elif after == before:
        words = tr("step {step} was skipped, and the scale stays at {before}")
    else:
        words = tr("step {step} was skipped: scale {before} → {after}")
    return words.format(**values)


def growth_text(record: RunRecord, step: int) -> str:
    """Return which scale the step tried."""
    scale = record.series["grad_scale"]
    place = _place(scale, step)
    before, after = (numbers.scale(float(value)) for value in scale.y[place - 1 : place + 1])
    words = tr("step {step} tried a larger scale: {before} → {after}")
    return words.format(step=f"{step:,}", before=before, after=after)


def validation_text(record: RunRecord, step: int) -> str:
    """Return the loss that was measured after a step."""
    series = record.series["validation"]
    value = float(series.y[_place(series, step)])
    return tr("validation after step {step}: loss {loss}").format(step=f"{step:,}", loss=numbers.number(value))


def verdict_text(record: RunRecord, step: int) -> str:
    """Return what the diagnosis said at a step."""
    return sentences(verdict_words(verdict)[0] for verdict in record.verdicts if verdict.step == step)


def _place(series: MetricSeries, step: int) -> int:
    return int(np.searchsorted(series.x, step))


ROWS = (
    gettext_noop("Verdict"),
    gettext_noop("Validation"),
    gettext_noop("Growth"),
    gettext_noop("Skipped"),
)  # from the bottom up
VERDICT, VALIDATION, GROWTH, SKIPPED = range(4)
Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """One mark: where it is and what it says."""

    step: int
    row: int
    text: str


def _none() -> Steps:
    return np.empty(0)


@dataclass(frozen=True, kw_only=True)
class LaneMarks:
    """The steps that have a mark, ascending. `floor`: those of the skipped that found the loss scale at its floor."""

    skipped: Steps = field(default_factory=_none)
    floor: Steps = field(default_factory=_none)
    growths: Steps = field(default_factory=_none)
    validations: Steps = field(default_factory=_none)
    harmless: Steps = field(default_factory=_none)
    harmful: Steps = field(default_factory=_none)

    @classmethod
    def of(cls, record: RunRecord) -> LaneMarks:
        """Return the marks of a run as it is now."""
        verdicts = [(verdict.step, verdict.harmful) for verdict in record.verdicts]
        return cls(
            skipped=np.array(record.skips, dtype=np.float64),
            floor=floor_steps(record),
            growths=scale_growths(record.series["grad_scale"]),
            validations=record.series["validation"].x,
            harmless=np.array([step for step, harmful in verdicts if not harmful], dtype=np.float64),
            harmful=np.array([step for step, harmful in verdicts if harmful], dtype=np.float64),
        )

    def in_row(self, row: int) -> Steps:
        """Return the steps that have a mark in a row, ascending."""
        if row == VERDICT:
            return np.sort(np.concatenate([self.harmless, self.harmful]))
        return {SKIPPED: self.skipped, GROWTH: self.growths, VALIDATION: self.validations}[row]

    def everywhere(self) -> Steps:
        """Return the steps that have a mark in any row, ascending, each once."""
        return np.unique(np.concatenate([self.in_row(row) for row in range(len(ROWS))]))

    def event(self, record: RunRecord, step: int, row: int) -> Event:
        """Return the event of a row at a step, in words."""
        if row == SKIPPED:
            return Event(step, row, skip_text(record, step, step in self.floor))
        words = {GROWTH: growth_text, VALIDATION: validation_text, VERDICT: verdict_text}
        return Event(step, row, words[row](record, step))
