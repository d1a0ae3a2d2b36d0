"""What a run will need of the memory: one bar, a colour and a name for each part."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QLabel, QPushButton, QSizePolicy, QWidget

from studio.events import MemoryMeasured
from studio.i18n import gettext_noop, sentences, tr
from studio.runner.actions import Estimate, Remedy, options_text
from studio.runner.memory_words import choices_text, measured_text, remedy_text, row_length_text, taken_text
from studio.text.numbers import size_text
from studio.text.words import component_text
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import label

_ABOUT = gettext_noop(
    "What training holds at its peak. Program: the interpreter and its libraries. 16-bit copies: of weights that are "
    "kept in fp32 and compute in 16 bits. Gathered layers: those at work, where each GPU holds a part of all. "
    "Loading: what the weight files need beyond that while they are read. "
    "Activations: what the backward pass needs of the forward pass; the allocator leaves gaps between them."
)
_OTHER = ("series_6", 1.0)
# A colour of the theme and how much of it: what goes with another part has a lighter shade of that part's colour.
_COLOURS = {
    "runtime": ("series_6", 0.6),
    "weights": ("series_1", 1.0),
    "gathered": ("series_1", 0.7),
    "conversions": ("series_1", 0.5),
    "gradients": ("series_3", 1.0),
    "optimizer": ("series_2", 1.0),
    "activations": ("series_5", 1.0),
    "logits": ("series_4", 1.0),
    "loading": ("series_1", 0.3),
    "holes": ("series_5", 0.5),
}


class MemoryBar(QWidget):
    """The memory, how training is made to fit into it, and what would make it fit. Hidden while there is no estimate.

    `remedy_chosen` carries the remedy, a `Remedy`, that the user takes.
    """

    remedy_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _Bar()
        self._legend = MemoryLegend()
        self.choices, self.measured = label("", "caption", wrap=True), label("", "caption", wrap=True)
        self.remedies: list[QPushButton] = []
        self._offer = vbox(spacing=0.5, margins=(0, 0.5, 0, 0))
        self.measured.hide()
        parts = (self._bar, self._legend, self.choices, self.measured, self._offer)
        vbox(*parts, spacing=0.75, margins=(0, 0.5, 0, 0.5), parent=self)
        self.setToolTip(tr(_ABOUT))
        self.hide()

    def show_estimate(self, estimate: Estimate | None) -> None:
        """Show the parts of an estimate against the memory that is there."""
        self.setVisible(estimate is not None)
        if estimate is not None:
            self._bar.show_parts(estimate.bytes, estimate.available_bytes)
            self._legend.show_parts(estimate.bytes)
            self._bar.setAccessibleName(tr("Memory: {parts}").format(parts=parts_text(estimate.bytes)))
            how = choices_text(estimate)
            said = (
                tr("{facts}.").format(facts=f"{how[:1].upper()}{how[1:]}"),
                taken_text(estimate),
                row_length_text(estimate),
            )
            self.choices.setText(sentences(said))
            self._show_remedies(estimate)

    def show_measured(self, event: MemoryMeasured | None) -> None:
        """Show what the trial of the run has measured, or nothing."""
        self.measured.setText(measured_text(event) if event else "")
        self.measured.setVisible(event is not None)

    def _show_remedies(self, estimate: Estimate) -> None:
        for button in self.remedies:
            self._offer.removeWidget(button)
            button.hide()  # until it is deleted
            button.deleteLater()
        self.remedies = []
        for remedy in estimate.remedies:
            button = push_button(remedy_text(remedy), tooltip=options_text(remedy))
            button.clicked.connect(functools.partial(self._choose, remedy))
            self._offer.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
            self.remedies.append(button)

    def _choose(self, remedy: Remedy) -> None:
        self.remedy_chosen.emit(remedy)


class MemoryLegend(QLabel):
    """The parts of an estimate with their colours and sizes, in a line that wraps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._parts: Mapping[str, int] = {}
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setProperty("role", "caption")
        self.setWordWrap(True)
        theme.notifier().changed.connect(self._write)

    def show_parts(self, parts: Mapping[str, int]) -> None:
        """Name these parts, those that need nothing left out."""
        self._parts = parts
        self.setAccessibleName(parts_text(parts))
        self._write()

    def _write(self) -> None:
        entries = []
        for name, size in _present(self._parts):
            words = f"{component_text(name)} {size_text(size)}".replace(" ", "&nbsp;")
            entries.append(f'<font color="{component_colour(name).name()}">■</font>&nbsp;{words}')
        self.setText(" &nbsp; ".join(entries))


class _Bar(QWidget):
    """The parts side by side; what is left of the memory stays empty."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: Mapping[str, int] = {}
        self._available = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_parts(self, parts: Mapping[str, int], available: int) -> None:
        self._parts, self._available = parts, available
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.characters(20), theme.space(1.25))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_parts(painter, QRectF(self.rect()), self._parts, max(self._available, sum(self._parts.values())))
        painter.end()


def paint_parts(painter: QPainter, area: QRectF, parts: Mapping[str, int], whole: int) -> None:
    """Paint the parts of an estimate side by side, as a bar whose full length stands for `whole` bytes."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    shape = QPainterPath()
    shape.addRoundedRect(area, area.height() / 2, area.height() / 2)
    painter.setClipPath(shape, Qt.ClipOperation.IntersectClip)
    painter.fillRect(area, theme.palette().border)
    left = area.left()
    for name, size in _present(parts):
        width = area.width() * size / max(whole, 1)
        painter.fillRect(QRectF(left, area.top(), width, area.height()), component_colour(name))
        left += width
    painter.restore()


def parts_text(parts: Mapping[str, int]) -> str:
    """Return the parts of an estimate in words, such as "Weights 513 MB, Gradients 19 MB"."""
    return tr(", ").join(f"{component_text(name)} {size_text(size)}" for name, size in _present(parts))


def component_colour(name: str) -> QColor:
    """Return the colour of a component, the same in every bar; all that are not known share one."""
    series, share = _COLOURS.get(name, _OTHER)
    full: QColor = getattr(theme.palette(), series)
    # Mixed and not transparent, so that the legend, which knows no transparency, shows the same.
    return _mixed(full, theme.palette().surface, share)


def _mixed(colour: QColor, ground: QColor, share: float) -> QColor:
    parts = zip(colour.getRgb()[:3], ground.getRgb()[:3], strict=True)  # type: ignore[index]
    return QColor(*(round(share * one + (1.0 - share) * other) for one, other in parts))


def _present(parts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, size) for name, size in parts.items() if size > 0]
