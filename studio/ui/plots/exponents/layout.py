"""Where the exponent histogram draws what: the numbers above, the ruler of scales below."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRectF

from studio.ui import theme

# Exponents in view, after scaling: all of fp16's range with air on both sides. Beyond, numbers are zero or overflow.
FIRST_EXPONENT, LAST_EXPONENT = -46, 26


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Places in pixels of the widget.

    Attributes:
        plot: the histogram; `zeros` and `infinite` are the bars beside it, for what has no exponent.
        ruler: the shares over the scales; `scales` are the exponents at its ends.
        width: of the widget.
        line: the height of a line of text.
    """

    plot: QRectF
    zeros: QRectF
    infinite: QRectF
    ruler: QRectF
    scales: tuple[int, int]
    width: int
    line: float

    @property
    def exponent_width(self) -> float:
        """Pixels for a factor of two in the histogram."""
        return self.plot.width() / (LAST_EXPONENT - FIRST_EXPONENT)

    def exponent_x(self, exponent: float) -> float:
        """Return the pixel of an exponent in the histogram."""
        return self.plot.left() + (exponent - FIRST_EXPONENT) * self.exponent_width

    def scale_x(self, exponent: float) -> float:
        """Return the pixel of a scale on the ruler."""
        low, high = self.scales
        return self.ruler.left() + (exponent - low) / (high - low) * self.ruler.width()

    def scale_at(self, x: float) -> float:
        """Return the exponent of the scale at a pixel of the ruler."""
        low, high = self.scales
        return low + (x - self.ruler.left()) / max(1.0, self.ruler.width()) * (high - low)


def layout_of(width: int, height: int, scales: tuple[int, int]) -> Layout:
    """Share a widget's room out: the ruler has a fixed height, the histogram takes the rest."""
    line = float(theme.space(1.85))
    left, slot, right = theme.characters(7), theme.space(2.5), theme.space(0.75)
    ruler_height = 2.1 * line
    plot_height = height - ruler_height - 4.1 * line
    plot = QRectF(left + slot, 0.5 * line, width - left - 2 * slot - right, plot_height)
    bar = theme.space(1.25)
    return Layout(
        plot=plot,
        zeros=QRectF(left + (slot - bar) / 2, plot.top(), bar, plot.height()),
        infinite=QRectF(plot.right() + (slot - bar) / 2, plot.top(), bar, plot.height()),
        ruler=QRectF(plot.left(), plot.bottom() + 2.35 * line, plot.width(), ruler_height),
        scales=scales,
        width=width,
        line=line,
    )
