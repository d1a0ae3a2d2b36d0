"""What the computer did while the run trained, in one strip below the charts and on their time line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtWidgets import QFrame, QWidget

from studio.events import MetersSampled
from studio.i18n import gettext_noop, sentences, tr, trn
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.text.meters import degrees, throttle_text, watts
from studio.text.numbers import NONE, share_text, size_text
from studio.ui.plots.spark import Spark
from studio.ui.plots.timeline import Timeline
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import ElidedLabel, label

HOTTEST = 100.0  # degrees: where the curve ends that a card stays below


@dataclass(frozen=True, kw_only=True)
class Meter:
    """One meter: its name, its explanation, its colour, its words, and what its curve ends at.

    `top` is a number, or the field of the event that has it. The curve ends higher where a value is higher.
    """

    title: str
    help: str
    colour: str
    words: Callable[[float], str]
    top: str | float


_TRIAL = gettext_noop("The dashed line is what the trial of the longest rows held before the first step.")
METERS = {
    "gpu_use": Meter(
        title=gettext_noop("GPU"),
        help=gettext_noop("The share of the time in which the GPU computed something."),
        colour="series_1",
        words=lambda value: share_text(value, 1),
        top=1.0,
    ),
    "gpu_memory": Meter(
        title=gettext_noop("GPU memory"),
        help=gettext_noop("What all programs hold of the GPU's memory."),
        colour="series_2",
        words=size_text,
        top="gpu_memory_total",
    ),
    "gpu_temperature": Meter(
        title=gettext_noop("GPU temperature"),
        help=gettext_noop("How hot the GPU is. Above some 85 °C most cards slow down."),
        colour="series_4",
        words=degrees,
        top=HOTTEST,
    ),
    "gpu_power": Meter(
        title=gettext_noop("GPU power"),
        help=gettext_noop("The electric power that the GPU draws. Marks at the foot: it was slowed down there."),
        colour="series_5",
        words=watts,
        top="gpu_power_limit",
    ),
    "processor": Meter(
        title=gettext_noop("Processor"),
        help=gettext_noop("How busy all cores of this computer were together, with all programs."),
        colour="series_3",
        words=lambda value: share_text(value, 1),
        top=1.0,
    ),
    "memory": Meter(
        title=gettext_noop("Memory in use"),
        help=gettext_noop("What all programs hold of the computer's memory."),
        colour="series_6",
        words=size_text,
        top="memory_total",
    ),
    "process_memory": Meter(
        title=gettext_noop("Memory of this run"),
        help=gettext_noop("What the process that trains holds of the computer's memory."),
        colour="series_2",
        words=size_text,
        top=0.0,
    ),
}
# With the trial's peak as a line. What the process holds says little where the model is on a GPU.
_ESTIMATED = ("gpu_memory", "process_memory")


class MeterStrip(QFrame):
    """Hidden where the run has no meters; a meter that this computer has not is hidden alone."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(tr("Meters"))
        self._timeline = timeline
        self._record: RunRecord | None = None
        self._shown: MetersSampled | None = None
        self.cells = {key: MeterCell(meter, timeline) for key, meter in METERS.items()}
        self.throttled = ElidedLabel("", "caption")
        row = hbox(*((cell, 1) for cell in self.cells.values()), spacing=1.5)
        vbox(row, self.throttled, spacing=0.5, margins=(2, 1, 2, 1), parent=self)
        timeline.cursor_changed.connect(self._show_values)
        self.hide()

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._record, self._shown = record, None
        self.refresh()

    def refresh(self) -> None:
        """Show what the run has become. It costs nothing until there is another sample."""
        record = self._record
        newest = record.state.meters if record is not None else None
        self.setVisible(newest is not None)
        if record is None or newest is None or newest is self._shown:
            return
        self._shown = newest
        for key, cell in self.cells.items():
            series = record.series[key]
            estimate = record.state.memory.peak if record.state.memory and key in _ESTIMATED else None
            cell.show_series(series, newest, estimate)
        on_gpu = len(record.series["gpu_memory"]) > 0
        self.cells["process_memory"].setVisible(not on_gpu and len(record.series["process_memory"]) > 0)
        self.cells["gpu_power"].spark.marked = record.throttled
        self._show_throttled(record, newest)
        self._show_values()

    def _show_values(self) -> None:
        for cell in self.cells.values():
            cell.show_value(self._timeline.cursor)

    def _show_throttled(self, record: RunRecord, newest: MetersSampled) -> None:
        times = len(record.throttled)
        self.throttled.setVisible(times > 0)
        if not times:
            return
        words = trn("The GPU was slowed down in {count} sample.", "The GPU was slowed down in {count} samples.", times)
        reason = throttle_text(newest.gpu_throttle)
        now = tr("Now: {reason}.").format(reason=reason) if reason else tr("Now it is not.")
        self.throttled.set_text(sentences((words.format(count=f"{times:,}"), now)))
        level = "warning" if reason else None
        if level != self.throttled.property("level"):
            self.throttled.setProperty("level", level)
            self.throttled.style().polish(self.throttled)


class MeterCell(QWidget):
    """Name, value and curve of one meter."""

    def __init__(self, meter: Meter, timeline: Timeline) -> None:
        super().__init__()
        self._meter = meter
        self._series = MetricSeries()
        self._limit: float | None = None
        self._value = label("", "body")
        self.spark = Spark(timeline, meter.colour)
        vbox(ElidedLabel(tr(meter.title), "caption"), self._value, self.spark, spacing=0.2, parent=self)
        self.hide()

    @property
    def text(self) -> str:
        """The meter as it is read out."""
        return self.accessibleName()

    def show_series(self, series: MetricSeries, newest: MetersSampled, estimate: float | None) -> None:
        """Draw a series; `newest` is the sample that came last, and `estimate` is drawn as a line."""
        self._series = series
        self.setVisible(len(series) > 0)
        highest = float(series.y.max()) if len(series) else 0.0
        top = self._meter.top
        self._limit = None if isinstance(top, float) else getattr(newest, top)
        most = top if isinstance(top, float) else self._limit or 0.0
        # A curve without a bound of its own leaves some air above what was highest.
        self.spark.top = float(most or 1.25 * max(highest, estimate or 0.0) or 1.0)
        self.spark.level = estimate
        self.spark.show_series(series)
        named = tr(_TRIAL) if estimate is not None else ""
        peak = tr("The most was {value}.").format(value=self._meter.words(highest)) if len(series) else ""
        self.setToolTip(sentences((tr(self._meter.help), named, peak)))

    def show_value(self, step: int | None) -> None:
        """Show the value at a step, or the newest one; 0 is where sampling began."""
        place = len(self._series) if step is None else int(np.searchsorted(self._series.x, step, side="right"))
        place = max(1, place) if len(self._series) else 0
        value = self._meter.words(float(self._series.y[place - 1])) if place else NONE
        if place and self._limit:
            value = tr("{part} of {whole}").format(part=value, whole=self._meter.words(self._limit))
        if value != self._value.text():
            self._value.setText(value)
            self.setAccessibleName(tr("{name}: {value}").format(name=tr(self._meter.title), value=value))
