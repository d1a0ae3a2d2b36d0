"""What a run will need of the memory: one bar, a colour and a name for each part."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from studio.i18n import mark, tr
from studio.runner.actions import Estimate
from studio.ui import theme
from studio.ui.widgets.text import label
from studio.words import size_text

COMPONENTS = {
    "weights": mark("Weights"),
    "gradients": mark("Gradients"),
    "optimizer": mark("Optimizer"),
    "activations": mark("Activations"),
    "logits": mark("Logits"),
}


class MemoryBar(QWidget):
    """Hidden while there is no estimate."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _Bar()
        self._legend = label("", "caption", wrap=True)
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, theme.space(0.5), 0, theme.space(0.5))
        whole.setSpacing(theme.space(0.75))
        whole.addWidget(self._bar)
        whole.addWidget(self._legend)
        theme.notifier().changed.connect(self._write)
        self._parts: list[tuple[str, int]] = []
        self.hide()

    def show_estimate(self, estimate: Estimate | None) -> None:
        """Show the parts of an estimate against the memory that is there."""
        self.setVisible(estimate is not None)
        if estimate is not None:
            self._parts = [(name, size) for name, size in estimate.bytes.items() if size > 0]
            self._bar.show_parts([size for _, size in self._parts], estimate.available_bytes)
            self._write()

    def _write(self) -> None:
        entries = []
        for place, (name, size) in enumerate(self._parts):
            words = f"{component_text(name)} {size_text(size)}".replace(" ", "&nbsp;")
            entries.append(f'<font color="{_colour(place).name()}">■</font>&nbsp;{words}')
        self._legend.setText(" &nbsp; ".join(entries))
        words = ", ".join(f"{component_text(name)} {size_text(size)}" for name, size in self._parts)
        self._legend.setAccessibleName(words)
        self._bar.setAccessibleName(tr("Memory: {parts}").format(parts=words))


class _Bar(QWidget):
    """The parts side by side; what is left of the memory stays empty."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: list[int] = []
        self._available = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_parts(self, sizes: list[int], available: int) -> None:
        self._sizes, self._available = sizes, available
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.characters(20), theme.space(1.25))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(self.rect()), self.height() / 2, self.height() / 2)
        painter.setClipPath(shape)
        painter.fillRect(self.rect(), theme.palette().border)
        whole = max(self._available, sum(self._sizes), 1)
        left = 0.0
        for place, size in enumerate(self._sizes):
            width = self.width() * size / whole
            painter.fillRect(QRectF(left, 0, width, self.height()), _colour(place))
            left += width
        painter.end()


def component_text(name: str) -> str:
    """Return a component of a memory estimate in words."""
    return tr(COMPONENTS[name]) if name in COMPONENTS else name.replace("_", " ").capitalize()


def _colour(place: int) -> QColor:
    colours = theme.palette()
    series = (
        colours.series_1,
        colours.series_3,
        colours.series_2,
        colours.series_5,
        colours.series_4,
        colours.series_6,
    )
    return series[place % len(series)]
