"""Beside the rows: how long they are, and what is wrong with some of them, with the buttons that mend it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from studio.engine.data.findings.base import Remedy
from studio.i18n import tr
from studio.text.numbers import percent
from studio.ui.dialogs.xray.histogram import LengthChart, lengths_text
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.data.findings.base import Finding
    from studio.engine.data.xray import LengthHistogram, LengthSuggestion

TRUNCATED = "truncated"
_SAID_ABOVE = (TRUNCATED, "nothing_learned")


class Findings(QWidget):
    """`wanted` carries the name of the finding whose rows are to be shown, `remedy_chosen` a `Remedy`."""

    wanted = Signal(str)
    remedy_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chart, self._lengths = LengthChart(), label("", "muted", wrap=True)
        self.show_cut = push_button(tr("Show the cut rows"), tooltip=tr("Show the rows that lose their end"))
        self.show_cut.clicked.connect(lambda: self.wanted.emit(TRUNCATED))
        self.raise_length = push_button("", icon="check")
        self.raise_length.clicked.connect(self._raise_length)
        self._after = label("", "muted", wrap=True)
        self._remedy: Remedy | None = None
        self._list = vbox(spacing=1)
        self.buttons: dict[str, tuple[QPushButton, ...]] = {}
        for button in (self.show_cut, self.raise_length):
            button.setAutoDefault(False)
            button.hide()
        lengths = (
            self.chart,
            self._lengths,
            hbox(self.show_cut, STRETCH),
            self._after,
            hbox(self.raise_length, STRETCH),
        )
        vbox(
            label(tr("Lengths in tokens"), "heading"),
            *lengths,
            label(tr("Findings"), "heading"),
            self._list,
            STRETCH,
            spacing=1,
            margins=(0, 0, 1.5, 1),
            parent=self,
        )
        self.show_findings(())

    def show_lengths(self, histogram: LengthHistogram, suggestion: LengthSuggestion | None) -> None:
        """Show the lengths of other rows, and the longest length that would cut hardly any."""
        self.chart.show_lengths(histogram)
        self.chart.setVisible(any(histogram.kept) or any(histogram.cut))
        self._lengths.setText(lengths_text(histogram))
        self.show_cut.setVisible(any(histogram.cut))
        self._remedy = Remedy("raise_max_length", "max_length", suggestion.max_length) if suggestion else None
        self._after.setVisible(suggestion is not None)
        self.raise_length.setVisible(suggestion is not None)
        if suggestion is not None and self._remedy is not None:
            then = tr("With {tokens} tokens, {share} would be cut.")
            if not suggestion.share:
                then = tr("With {tokens} tokens, none would be cut.")
            self._after.setText(then.format(tokens=f"{suggestion.max_length:,}", share=percent(suggestion.share)))
            self.raise_length.setText(f"\u00a0{self._remedy.text()}")
            self.raise_length.setAccessibleName(self._remedy.text())

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """List other findings. What is about lengths is said above."""
        while (item := self._list.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()  # until it is deleted
                widget.deleteLater()
        self.buttons = {}
        listed = [finding for finding in findings if finding.name not in _SAID_ABOVE]
        for finding in listed:
            self._list.addWidget(self._entry(finding))
        if not listed:
            nothing = Verdict()
            nothing.set(tr("Nothing else was found in the rows that are used."), "good")
            self._list.addWidget(nothing)

    def _entry(self, finding: Finding) -> QWidget:
        words = Verdict()
        words.set(finding.meaning(), "warning")
        buttons = []
        if finding.rows:
            show = push_button(tr("Show rows"), tooltip=tr("Show the rows that this is about"))
            show.clicked.connect(partial(self.wanted.emit, finding.name))
            buttons.append(show)
        if finding.remedy is not None:
            mend = push_button(finding.remedy.text(), tooltip=tr("Change the options of the Data card"))
            mend.clicked.connect(partial(self.remedy_chosen.emit, finding.remedy))
            buttons.append(mend)
        for button in buttons:
            button.setAutoDefault(False)
            button.setAccessibleDescription(finding.meaning())
        self.buttons[finding.name] = tuple(buttons)
        entry = QFrame()
        entry.setProperty("kind", "inset")
        vbox(words, hbox(*buttons, STRETCH, spacing=1), spacing=1, margins=1.25, parent=entry)
        return entry

    def _raise_length(self) -> None:
        if self._remedy is not None:
            self.remedy_chosen.emit(self._remedy)
