"""The key figures of the numerics: headroom, updates applied, scale, and what was lost."""

from __future__ import annotations

import math

from PySide6.QtWidgets import QFrame, QWidget

from studio.events import NumericsSampled
from studio.exponents import FP16
from studio.i18n import tr, trn
from studio.runner.numerics import headroom, recorded_scale, sampling_interval, share_lost
from studio.runner.record import RunRecord
from studio.text import numbers
from studio.text.numbers import share_text
from studio.ui import theme
from studio.ui.plots.headroom import HeadroomGauge, headroom_level, headroom_text
from studio.ui.plots.heatmap.axis import title_of
from studio.ui.plots.scale import scale_figure
from studio.ui.widgets.figure import LEAST, Figure
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import hbox


class HeadroomFigure(QWidget):
    """The headroom in words with its gauge beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.figure = Figure(
            tr("Headroom"),
            tr("How many times the loss scale can double before the largest recorded gradient overflows fp16"),
        )
        self.gauge = HeadroomGauge()
        self.gauge.setToolTip(self.figure.toolTip())
        hbox((self.figure, 3), (self.gauge, 2), spacing=1, parent=self)

    def show_sample(self, sample: NumericsSampled | None, scale: float | None) -> None:
        """Show the headroom of a sample at its `recorded_scale`."""
        left = None if sample is None else headroom(sample)
        detail = ""
        if sample is not None and left is not None and not math.isnan(left):
            detail = tr("until fp16 overflows") if scale else tr("if this were fp16")
            if left == -math.inf:
                detail = tr("at step {step}").format(step=f"{sample.step:,}")
        self.figure.set(headroom_text(left), detail, headroom_level(left))
        self.gauge.set_headroom(left)
        self.setAccessibleDescription(self.figure.text)


class NumericsFigures(QFrame):
    """One quiet strip; everything in it is of the newest step or the newest sample."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(tr("Key figures"))
        self.headroom = HeadroomFigure()
        self.figures = {key: Figure(name, tooltip) for key, name, tooltip in _figures()}
        least = theme.characters(LEAST)
        figures = ((figure, 3, least) for figure in self.figures.values())
        flow((self.headroom, 6, 2 * least), *figures, spacing=2, margins=(2, 1.25, 2, 1.25), even=True, parent=self)

    def show_record(self, record: RunRecord) -> None:
        """Show a run as it stands."""
        sample = record.samples[-1] if record.samples else None
        self.headroom.show_sample(sample, recorded_scale(record, sample) if sample else None)
        show = {key: figure.set for key, figure in self.figures.items()}
        show["applied"](*_applied(record))
        show["scale"](*scale_figure(record.state))
        show["largest"](*_largest(record, sample))
        show["lost"](*_lost(record, sample))
        show["looks"](*_looks(record))


def _figures() -> tuple[tuple[str, str, str], ...]:
    return (
        ("applied", tr("Updates applied"), tr("Steps whose gradients were finite, of all that were attempted")),
        ("scale", tr("Gradient scale"), tr("What the loss is multiplied by so that small fp16 gradients survive")),
        ("largest", tr("Largest gradient"), tr("Of the newest sample, unscaled, and the module it flows out of")),
        (
            "lost",
            tr("Lost gradients"),
            tr(
                "Share of the trained weights' gradients that fp16 makes zero at this scale; those that are zero by "
                "nature, at any scale, do not count"
            ),
        ),
        ("looks", tr("Samples"), tr("How often the run has looked inside the model")),
    )


def _applied(record: RunRecord) -> tuple[str, str]:
    state = record.state
    if not state.step:
        return numbers.NONE, ""
    return f"{state.update:,}", tr("of {attempted} attempted").format(attempted=f"{state.step:,}")


def _largest(record: RunRecord, sample: NumericsSampled | None) -> tuple[str, str]:
    known = [] if sample is None else [(v, m) for m, v in enumerate(sample.gradient_largest) if not math.isnan(v)]
    if not known or record.numerics is None:
        return numbers.NONE, ""
    value, module = max(known)
    return numbers.number(value, 3), title_of(record.numerics.modules[module])


def _lost(record: RunRecord, sample: NumericsSampled | None) -> tuple[str, str]:
    if sample is None or record.numerics is None:
        return numbers.NONE, ""
    lost = share_lost(sample, record.numerics.compute)
    detail = tr("at this scale") if record.numerics.compute == FP16.name else tr("if this were fp16")
    return (numbers.NONE if lost is None else share_text(lost, 1)), detail


def _looks(record: RunRecord) -> tuple[str, str]:
    if record.numerics is None:
        return numbers.NONE, tr("not recorded") if record.state.step else ""
    every = sampling_interval(record)
    return f"{len(record.samples):,}", trn("every step", "every {steps} steps", every).format(steps=f"{every:,}")
