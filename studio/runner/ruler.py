"""Where the steps of a run stand on the axis of a plot: by their number, by updates, by tokens or by training time."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from studio.runner.record import RunRecord

Measure: TypeAlias = Literal["step", "update", "tokens", "seconds"]


class Ruler:
    """Maps attempted steps of one run to places on an axis, and back. It follows a run that grows.

    The places are numbers of steps, applied updates, tokens that were read (padding not counted), or seconds of the
    steps alone, without validations and pauses. Between two steps, and beyond the newest one, they are interpolated
    linearly, beyond it at the mean pace of the run.
    """

    def __init__(self, record: RunRecord | None = None, measure: Measure = "step") -> None:
        self._record, self.measure = record, measure
        self._version = -1
        self._steps = self._places = np.empty(0)

    def places(self, steps: Any) -> Any:
        """Return where steps (a number or an array) stand."""
        self._take_in()
        return np.interp(steps, self._steps, self._places) if len(self._steps) else steps

    def steps(self, places: Any) -> Any:
        """Return which steps, parts of them included, stand at places (a number or an array)."""
        self._take_in()
        return np.interp(places, self._places, self._steps) if len(self._steps) else places

    def _take_in(self) -> None:
        if self.measure == "step" or self._record is None or self._record.version == self._version:
            return
        self._version = self._record.version
        series = self._record.series[self.measure]
        places = series.y if self.measure == "update" else np.cumsum(series.y)
        if not len(places) or places[-1] <= 0:
            self._steps = self._places = np.empty(0)
            return
        last, end = float(series.x[-1]), float(places[-1])
        self._steps = np.concatenate([[-last, 0.0], series.x, [2 * last]])
        self._places = np.concatenate([[-end, 0.0], places, [2 * end]])
