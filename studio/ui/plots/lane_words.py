"""The events of the lane in words."""

from __future__ import annotations

import numpy as np

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.ui.plots import numbers


def skip_text(record: RunRecord, step: int, at_floor: bool) -> str:
    """Return what a skipped step did to the scale."""
    scale = record.series["grad_scale"]
    place = _place(scale, step)
    if place >= len(scale) or scale.x[place] != step:
        return tr("step {step} was skipped: a gradient was not finite").format(step=f"{step:,}")
    before = numbers.scale(float(scale.y[place]))
    if at_floor:
        words = tr("step {step} was skipped, and the scale stays at its floor, {before}")
        return words.format(step=f"{step:,}", before=before)
    if place + 1 >= len(scale):
        return tr("step {step} was skipped at scale {before}").format(step=f"{step:,}", before=before)
    after = numbers.scale(float(scale.y[place + 1]))
    return tr("step {step} was skipped: scale {before} → {after}").format(step=f"{step:,}", before=before, after=after)


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
    return " ".join(verdict.sentence for verdict in record.verdicts if verdict.step == step)


def _place(series: MetricSeries, step: int) -> int:
    return int(np.searchsorted(series.x, step))
