"""The card of the exponent histogram: which gradients, in which format, at which scale, and what that would do."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.events import NumericsSampled
from studio.exponents import FORMATS, Histogram
from studio.i18n import tr
from studio.runner.numerics import largest_product
from studio.text import numbers
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.exponents.view import ExponentView
from studio.ui.plots.exponents.words import ZONES, Zone, best_text, recorded_text, share_of
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import ElidedLabel, label


class ZoneTile(QWidget):
    """One zone of the format: its colour, its name and its share."""

    def __init__(self, zone: Zone) -> None:
        super().__init__()
        self._zone = zone
        self.setToolTip(tr(zone.tooltip))
        self.share = label(numbers.NONE, "value")
        title = ElidedLabel(tr(zone.title), "caption")
        hbox(_Swatch(zone.colour), title, self.share, spacing=0.5, parent=self)

    def show_share(self, text: str) -> None:
        """Show another share."""
        self.share.setText(text)
        self.setAccessibleName(tr("{name}: {value}").format(name=tr(self._zone.title), value=text))


class _Swatch(QWidget):
    def __init__(self, colour: str) -> None:
        super().__init__()
        self._colour = colour
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedSize(theme.space(1), theme.space(1))
        theme.notifier().changed.connect(self.update)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(getattr(theme.palette(), self._colour))
        painter.drawRoundedRect(QRectF(self.rect()), 2, 2)
        painter.end()


class HistogramCard(Card):
    """Shows the sample that it is given. The page connects `follow`, which asks for the newest one again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Exponents"), parent)
        self._sample: NumericsSampled | None = None
        self._scale: float | None = None
        self.view = ExponentView()
        self.of = Segmented((("parameters", tr("Weights")), ("gradients", tr("Activations"))))
        self.of.describe(tr("Gradients of"), tr("Gradients of the trained weights, or those that flow between layers"))
        self.format = Segmented((("fp16", "fp16"), ("bf16", "bf16")))
        self.format.describe(tr("Format"), tr("The format whose zones are drawn"))
        self.tiles = {zone.key: ZoneTile(zone) for zone in ZONES}
        self.source, self.best, self.lost = (ElidedLabel("", "caption") for _ in range(3))
        self.back = push_button(tr("Present scale"), "quiet", tooltip=tr("Go back to the scale in use (Home)"))
        self.follow = push_button(tr("Newest sample"), "quiet", tooltip=tr("Follow the newest sample again"))
        self._lay_out()
        self.of.changed.connect(self._show)
        self.format.changed.connect(lambda: self.view.show_format(FORMATS[self.format.value()]))
        self.view.changed.connect(self._show_words)
        self.back.clicked.connect(lambda: self.view.explore(None))
        self._show_words()

    def show_sample(self, sample: NumericsSampled | None, scale: float | None, message: str, *, newest: bool) -> None:
        """Show a sample and its `recorded_scale`, or a message where there is none.

        `newest`: the sample is followed, not chosen.
        """
        self.follow.setVisible(not newest and sample is not None)
        if sample is not self._sample or message != self.view.message:
            self._sample, self._scale = sample, scale
            self._message = message
            self._show()

    def start_anew(self) -> None:
        """Another run: show it at its own scale."""
        self.view.explored = None
        self._sample = None

    def _show(self) -> None:
        sample = self._sample
        histogram = None if sample is None else Histogram.from_dict(getattr(sample, self.of.value()))
        if histogram is not None and not histogram.total:
            histogram = None
        largest = largest_product(sample) if sample else math.nan
        message = self._message if sample is None else tr("No gradient was recorded in this sample.")
        self.view.show_histogram(histogram, self._scale, largest, message)

    def _show_words(self) -> None:
        shares, histogram = self.view.shares, self.view.histogram
        for key, tile in self.tiles.items():
            tile.show_share(share_of(getattr(shares, key), histogram.total) if histogram else numbers.NONE)
        self.back.setVisible(self.view.explored is not None)
        self.best.set_text(best_text(self.view.best, self.view.fmt) if histogram else "")
        self.lost.set_text(recorded_text(histogram, self.view.recorded, self.view.scale) if histogram else "")
        self.source.set_text(self._source())

    def _source(self) -> str:
        sample = self._sample
        if sample is None or self.view.histogram is None:
            return ""
        step = tr("Step {step}").format(step=f"{sample.step:,}")
        if self.view.explored is not None:
            asked = tr("what scale {scale} would do").format(scale=numbers.scale(self.view.scale))
            return f"{step} · {asked}"
        if self._scale is None:
            return f"{step} · " + tr("no loss scaling: what {format} would do").format(format=self.view.fmt.name)
        if sample.grad_scale is None:
            return f"{step} · " + tr("loss scaling is switched off: scale 1")
        return f"{step} · " + tr("scale {scale}").format(scale=numbers.scale(self._scale))

    def _lay_out(self) -> None:
        for switch in (self.of, self.format):
            self.tools.add(switch)
        foot = hbox((self.source, 1), self.back, self.follow, spacing=0.5)
        self.body.setSpacing(theme.space(0.75))
        tiles, least = list(self.tiles.values()), theme.characters(30)
        pairs = (hbox(*tiles[first : first + 2], STRETCH, spacing=1) for first in range(0, len(tiles), 2))
        self.body.addLayout(flow(*((pair, 1, least) for pair in pairs)))
        self.body.addWidget(self.view, 1)
        self.body.addLayout(vbox(foot, self.best, self.lost, spacing=0.25))
