"""What can be done with all plots of a page: look closer, lay them out otherwise, save them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from studio.i18n import gettext_noop, tr
from studio.runner.record import RunRecord
from studio.runner.ruler import Measure, Ruler
from studio.ui.plots.line_chart import LineChart, Scale
from studio.ui.plots.save_menu import SaveMenu
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import PAN_STEP, ZOOM_STEP
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.flow import flow

Choice = TypeVar("Choice")
MEASURES: dict[Measure, str] = {
    "step": gettext_noop("Steps"),
    "update": gettext_noop("Updates"),
    "tokens": gettext_noop("Tokens"),
    "seconds": gettext_noop("Training time"),
}


class PlotToolbar(QWidget):
    """Acts on a timeline, and on the axes of some charts.

    `measure_changed` says that the steps are to be laid out by another `measure`; whoever knows the run does that.

    Args:
        by: how the steps are laid out at first.
    """

    measure_changed = Signal()

    def __init__(self, timeline: Timeline, charts: Sequence[LineChart], save: SaveMenu, by: Measure = "step") -> None:
        super().__init__()
        self._timeline, self._charts, self.measure = timeline, charts, by
        self.earlier = icon_button("chevron-left", tr("Earlier steps (Left)"))
        self.later = icon_button("chevron-right", tr("Later steps (Right)"))
        self.zoom_out = icon_button("zoom-out", tr("Zoom out (-)"))
        self.zoom_in = icon_button("zoom-in", tr("Zoom in (+, wheel)"))
        self.fit = icon_button("fit", tr("Show the whole run and follow it (Home, double click)"))
        self.axes = push_button("", tooltip=tr("Lay the steps out by tokens or time; linear or logarithmic axes"))
        self.axes.setProperty("menu", True)
        self.axes.setMenu(self._axes_menu())
        moves: tuple[tuple[QToolButton, Callable[[], None]], ...] = (
            (self.earlier, lambda: timeline.pan(-PAN_STEP)),
            (self.later, lambda: timeline.pan(PAN_STEP)),
            (self.zoom_out, lambda: timeline.zoom(1 / ZOOM_STEP)),
            (self.zoom_in, lambda: timeline.zoom(ZOOM_STEP)),
            (self.fit, self._fit_all),
        )
        for button, act in moves:
            button.clicked.connect(act)
        timeline.range_changed.connect(self._show_range)
        flow(*(button for button, _ in moves), self.axes, save.button, spacing=0.5, parent=self)
        self._show_range()
        self._show_measure()

    def ruler(self, record: RunRecord | None) -> Ruler:
        """Return what lays the steps of a run out as the user wants it."""
        return Ruler(record, self.measure)

    def _axes_menu(self) -> QMenu:
        menu = QMenu(self)
        offered: tuple[Measure, ...] = (self.measure, "tokens", "seconds")
        measures = [(measure, tr(MEASURES[measure])) for measure in offered]
        scales: tuple[tuple[Scale, str], ...] = (
            ("usual", tr("Each value on its usual axis")),
            ("linear", tr("Linear axes")),
            ("logarithmic", tr("Logarithmic axes")),
        )
        _offer(menu, measures, self._lay_out_by)
        menu.addSeparator()
        _offer(menu, scales, self._set_scale)
        return menu

    def _lay_out_by(self, measure: Measure) -> None:
        self.measure = measure
        self._show_measure()
        self.measure_changed.emit()

    def _show_measure(self) -> None:
        words = tr(MEASURES[self.measure])
        self.axes.setText(words)
        self.axes.setAccessibleName(tr("Axes, steps laid out by: {measure}").format(measure=words))

    def _set_scale(self, scale: Scale) -> None:
        for chart in self._charts:
            chart.set_scale(scale)

    def _fit_all(self) -> None:
        for chart in self._charts:
            chart.fit()
        self._timeline.fit()

    def _show_range(self) -> None:
        """Offer what can move: a view of the whole run can neither be panned nor be made wider."""
        for button in (self.earlier, self.later, self.zoom_out, self.fit):
            button.setEnabled(not self._timeline.whole)


def _offer(menu: QMenu, choices: Iterable[tuple[Choice, str]], take: Callable[[Choice], None]) -> None:
    """Add choices to a menu of which one is taken, the first at first."""
    group = QActionGroup(menu)
    for value, text in choices:
        action = QAction(text, menu, checkable=True, checked=not group.actions())
        action.triggered.connect(lambda _, value=value: take(value))
        group.addAction(action)
        menu.addAction(action)
