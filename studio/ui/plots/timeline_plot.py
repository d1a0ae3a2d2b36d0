"""What all plots over the steps of a run share: axes, cursor, keys, focus, theme and words for screen readers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QFocusEvent, QKeyEvent, QMouseEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.text import numbers
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.axes import BEHIND, StepAxis, ValueAxis
from studio.ui.plots.overlay import Overlay
from studio.ui.plots.seam import seam_text
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.view import StepView

PAN_STEP, ZOOM_STEP = 0.15, 0.7
DESCRIBE_MILLISECONDS = 500
SEAM_REACH = 0.5  # how near the mouse must be to a seam, in units of `theme.space`
# On these QGraphicsView tells its scene that it is active or no longer, and each part of the scene is painted again.
_ACTIVATION = (QEvent.Type.Show, QEvent.Type.Hide, QEvent.Type.WindowActivate, QEvent.Type.WindowDeactivate)
_BY_KEYBOARD = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason, Qt.FocusReason.ShortcutFocusReason)


class TimelinePlot(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """A plot that shares its timeline with the other plots of the page. Subclasses draw what stands between the axes.

    `read` is emitted with the values under the cursor, or of the newest step while there is no cursor; `clicked` with
    the place, in pixels of the view, of a click that was not a drag.
    Keys: arrows pan, + and - zoom, Home fits, Ctrl with an arrow moves the cursor by a step.
    """

    read = Signal(str)
    clicked = Signal(QPointF)
    # Whether the steps are written below; a plot that stands in line with the one under it need not.
    shows_steps = True

    def __init__(
        self,
        title: str,
        timeline: Timeline,
        axis: ValueAxis,
        overlay: type[Overlay] = Overlay,
        parent: QWidget | None = None,
    ) -> None:
        self.view = StepView(timeline)
        self.step_axis, self.value_axis = StepAxis(), axis
        super().__init__(parent, viewBox=self.view, axisItems={"left": axis, "bottom": self.step_axis})
        self.title = title
        self.timeline = timeline
        self.record: RunRecord | None = None
        self.overlay = overlay(self.view)
        self._fits_values = True
        self._dirty = True
        self._pressed = QPointF()
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._draw_if_visible)
        self._describing = QTimer(self, singleShot=True, interval=DESCRIBE_MILLISECONDS)
        self._describing.timeout.connect(self.describe)
        self._build()
        self._dress_axis()

    @override
    def sizeHint(self) -> QSize:
        """Ask for the least: the page's layout gives the rest. QGraphicsView would ask for the size of its scene.

        A scrolling page with wrapped text in it is as high as its parts ask for, not as high as there is room.
        """
        least: QSize = self.minimumSizeHint()
        return least

    # What subclasses draw and say

    def _draw_content(self, fit: bool) -> None:
        """Draw the steps from `timeline.first` to `timeline.last`; `fit` also brings all values into view."""

    def empty_message(self) -> str:
        """Return what to say instead of an empty picture, or nothing."""
        return tr("Nothing to plot yet") if self.record is None else tr("Waiting for the first step…")

    def reading(self, step: int) -> str:
        """Return the raw values at a step."""
        raise NotImplementedError

    def summary(self) -> str:
        """Return the picture in words."""
        raise NotImplementedError

    # What all of them do

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self.record = record
        self._fits_values = True
        self.refresh()
        self.describe()

    def refresh(self) -> None:
        """Draw anew soon: the run has grown. A hidden plot waits until it is shown."""
        self._dirty = True
        self._soon.start()

    def draw(self) -> None:
        """Draw what is in view now."""
        self._dirty = False
        if self.step_axis.measure != self.timeline.ruler.measure:
            self.step_axis.measure = self.timeline.ruler.measure
            self.step_axis.picture = None
        self.view.setXRange(self.timeline.first, self.timeline.last, padding=0)
        self._draw_content(self._fits_values)
        self.overlay.seams = np.array([seam.step for seam in self.record.seams] if self.record else [], dtype=float)
        self.overlay.message = self.empty_message()
        self._show_axes(not self.overlay.message)
        self._place_cursor()
        # pyqtgraph would do this within the paint event, and so cause a second one.
        self.scene().prepareForPaint()
        if not self._describing.isActive():
            self._describing.start()

    def describe(self) -> None:
        """Say in words what the picture shows, for those who do not see it."""
        text = self.summary()
        if text != self.accessibleDescription():
            self.setAccessibleDescription(text)

    def fit(self) -> None:
        """Show the whole run and all values, and follow the newest step."""
        self._fits_values = True
        self.timeline.fit()
        self.refresh()

    def copy_picture(self) -> None:
        """Put the plot as a picture on the clipboard."""
        theme.application().clipboard().setPixmap(self.grab())

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        self.setBackground(theme.palette().surface)
        for axis in (self.step_axis, self.value_axis):
            axis.apply_theme()
        self._show_focus(False)
        self.refresh()

    def tip(self, place: QPointF) -> str:
        """Return what is to be said of the place, in pixels of the view, where the mouse is."""
        for seam in reversed(self.record.seams if self.record else ()):
            if abs(float(self.view.pixel_of(seam.step + 0.5)) - place.x()) <= theme.space(SEAM_REACH):
                return seam_text(seam)
        return ""

    def place_of(self, event: QMouseEvent) -> QPointF:
        """Return where in the view, in pixels, the mouse is."""
        return QPointF(self.view.mapFromScene(self.mapToScene(event.position().toPoint())))

    def _build(self) -> None:
        self.setAccessibleName(self.title)
        self.setMinimumHeight(theme.space(7))
        self.setObjectName("chart")
        self.hideButtons()
        self.setMenuEnabled(False)
        self.plotItem.layout.setContentsMargins(0, theme.space(0.25), theme.space(0.5), 0)
        self._add_action(tr("Fit the whole run"), "Home", self.fit)
        self._add_action(tr("Zoom in"), "+", lambda: self.timeline.zoom(ZOOM_STEP))
        self._add_action(tr("Zoom out"), "-", lambda: self.timeline.zoom(1 / ZOOM_STEP))
        self._add_action(tr("Copy as a picture"), "Ctrl+C", self.copy_picture)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.view.values_moved.connect(self._hold_values)
        self.view.values_released.connect(self.fit)
        self.timeline.range_changed.connect(self.refresh)
        self.timeline.cursor_changed.connect(self._place_cursor)
        theme.notifier().changed.connect(self.apply_theme)
        self.apply_theme()

    def use_axis(self, axis: ValueAxis) -> None:
        """Draw the values on another axis, all of them in view."""
        if axis is not self.value_axis:
            self.value_axis = axis
            self.setAxisItems({"left": axis})
            self._dress_axis()
            self._fits_values = True
            self.refresh()

    def _dress_axis(self) -> None:
        self.value_axis.setZValue(BEHIND)
        self.value_axis.apply_theme()

    def _add_action(self, text: str, shortcut: str, slot: Callable[[], None]) -> None:
        action = QAction(text, self)
        action.setShortcut(shortcut)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(slot)
        self.addAction(action)

    def _draw_if_visible(self) -> None:
        if self._dirty and self.isVisible():
            self.draw()

    def _hold_values(self) -> None:
        self._fits_values = False

    def _show_axes(self, shown: bool) -> None:
        for axis, wanted in ((self.step_axis, shown and self.shows_steps), (self.value_axis, shown)):
            if axis.isVisible() != wanted:
                # pyqtgraph frees the room of an axis in these two, not in setVisible.
                axis.show() if wanted else axis.hide()

    def _place_cursor(self) -> None:
        self.overlay.step = self.timeline.cursor
        self.overlay.update()
        self.read.emit("" if self.empty_message() else self._text_at_cursor())

    def _text_at_cursor(self) -> str:
        step = self.timeline.cursor
        if step is None:
            return self.reading(self.timeline.newest)
        return self._at(step).format(step=f"{step:,}", values=self.reading(step) or numbers.NONE)

    def _at(self, step: int) -> str:
        """Return the words that tell the step under the cursor and where it stands, before the values there."""
        ruler = self.timeline.ruler
        place = float(ruler.places(step))
        match ruler.measure:
            case "tokens":
                return tr("step {step}, {place} tokens: {values}").replace("{place}", f"{place:,.0f}")
            case "seconds":
                return tr("step {step}, at {place}: {values}").replace("{place}", numbers.elapsed_text(place))
        return tr("step {step}: {values}")

    def _show_focus(self, focused: bool) -> None:
        self.view.setBorder(pg.mkPen(theme.palette().accent, width=1) if focused else None)

    @override
    def close(self) -> bool:
        """Close like any widget. pyqtgraph's own takes the scene apart, to which theme and timeline still speak."""
        return QWidget.close(self)

    @override
    def viewportEvent(self, event: QEvent) -> bool:
        """Keep from the scene whether the window is active: a plot looks the same, and would be painted twice."""
        if event.type() in _ACTIVATION:
            return QAbstractScrollArea.viewportEvent(self, event)
        seen: bool = super().viewportEvent(event)
        return seen

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._soon.start()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if hasattr(self, "_soon"):  # pyqtgraph resizes within its own constructor
            self.refresh()

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        place = self.place_of(event)
        inside = self.view.rect().contains(place)
        self.timeline.set_cursor(round(self.view.step_at(place.x())) if inside else None)
        self.overlay.setToolTip(self.tip(place) if inside else "")

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = event.position()
        super().mousePressEvent(event)
        # pyqtgraph's scene takes mouse events without accepting them: Qt would offer them to the widgets below too.
        event.accept()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        event.accept()
        # pyqtgraph tells a click from a drag by the time as well, which loses slow clicks.
        moved = (event.position() - self._pressed).manhattanLength()
        if event.button() == Qt.MouseButton.LeftButton and moved < theme.application().startDragDistance():
            self.clicked.emit(self.place_of(event))

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.timeline.set_cursor(None)

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._show_focus(event.reason() in _BY_KEYBOARD)

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._show_focus(False)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        direction = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if direction and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            at = self.timeline.newest if self.timeline.cursor is None else self.timeline.cursor
            self.timeline.move_cursor(at + direction)
        elif direction:
            self.timeline.pan(direction * PAN_STEP)
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.timeline.zoom(ZOOM_STEP)
        elif event.key() == Qt.Key.Key_Minus:
            self.timeline.zoom(1 / ZOOM_STEP)
        else:
            event.ignore()
