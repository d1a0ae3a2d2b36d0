"""The events of the lane in words."""

from __future__ import annotations

import math

import numpy as np

from studio.i18n import tr
from studio.runner.numerics import verdict_words
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
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
    return " ".join(verdict_words(verdict)[0] for verdict in record.verdicts if verdict.step == step)


def _place(series: MetricSeries, step: int) -> int:
    return int(np.searchsorted(series.x, step))
