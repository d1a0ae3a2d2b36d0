"""What a method amounts to for the chosen model, before anything is trained: sizes, merging, cost in use, exports."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from studio.engine.methods import Method
from studio.i18n import tr
from studio.runner.actions import Estimate
from studio.runner.words import exports_text, merging_text, unmergeable_text
from studio.text import numbers
from studio.text.numbers import count_text, share_text, size_text
from studio.ui import theme
from studio.ui.widgets.figure import Figure
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class MethodFacts(QFrame):
    """Figures follow the model and the options; merging, cost in use and exports are the method's own."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "inset")
        self.setAccessibleName(tr("What the method amounts to"))
        self.figures = {key: Figure(name, tooltip) for key, name, tooltip in _figures()}
        self.cost, self.exports, self.notice = label("", wrap=True), label("", wrap=True), Verdict()
        strip = hbox(*((figure, 1) for figure in self.figures.values()), spacing=1.5)
        parts = (strip, self._lines(), self.notice)
        vbox(*parts, spacing=1.25, margins=(1.5, 1.25, 1.5, 1.25), parent=self)

    def show_method(self, method: Method) -> None:
        """Say what holds of the method whatever the model."""
        self.figures["merges"].set(*merging_text(method))
        _say(self.cost, tr("Cost in use"), tr(method.cost_in_use))
        _say(self.exports, tr("Exports"), exports_text(method) or tr("None yet"))
        self.notice.set(unmergeable_text(method), "note")
        for part in (self._exports_name, self.exports):
            part.setVisible(method.mergeable)  # where it is not, the notice names them

    def show_estimate(self, estimate: Estimate | None) -> None:
        """Show the sizes, or that they are not known."""
        if estimate is None:
            for key in ("trainable", "patch", "memory"):
                self.figures[key].set(numbers.NONE)
            return
        share = share_text(estimate.trainable_parameters, estimate.total_parameters)
        of_all = tr("{share} of {total}").format(share=share, total=count_text(estimate.total_parameters))
        self.figures["trainable"].set(count_text(estimate.trainable_parameters), of_all)
        self.figures["patch"].set(size_text(estimate.patch_bytes), tr("on disk"))
        words = tr("of {available} available") if estimate.fits else tr("does not fit in {available}")
        there = words.format(available=size_text(estimate.available_bytes))
        self.figures["memory"].set(size_text(estimate.total_bytes), there, None if estimate.fits else "warning")

    def _lines(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.space(1.5))
        grid.setVerticalSpacing(theme.space(0.5))
        grid.setColumnStretch(1, 1)
        self._exports_name = label(tr("Exports"), "muted")
        names = (label(tr("Cost in use"), "muted"), self._exports_name)
        for row, (name, text) in enumerate(zip(names, (self.cost, self.exports), strict=True)):
            grid.addWidget(name, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(text, row, 1)
        return grid


def _figures() -> tuple[tuple[str, str, str], ...]:
    return (
        ("trainable", tr("Trained"), tr("Parameters that are trained, and their share of all")),
        ("patch", tr("Saved patch"), tr("Size of the trained part, as the run saves it")),
        ("memory", tr("Memory"), tr("Most memory that training will take; the Training card shows its parts")),
        ("merges", tr("Merges"), tr("Whether the trained part can be folded into the weights, at no cost in use")),
    )


def _say(line: QLabel, name: str, text: str) -> None:
    line.setText(text)
    line.setAccessibleName(tr("{name}: {value}").format(name=name, value=text))
