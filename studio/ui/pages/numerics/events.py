"""What happened, in words: a verdict with its evidence, its advice and its remedies, or the event that was clicked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QGridLayout, QMenu, QToolButton, QWidget

from studio.events import NumericsSampled, OverflowDiagnosed
from studio.i18n import tr, trn
from studio.runner.numerics import sample_at
from studio.runner.record import RunRecord
from studio.runner.verdicts import ended_words, remedy_words, verdict_title, verdict_words
from studio.ui import theme
from studio.ui.pages.numerics.evidence import evidence_rows, with_breaks
from studio.ui.plots.heatmap.words import hottest
from studio.ui.plots.lane.events import VERDICT, Event
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import STRETCH, scrolled, vbox
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Verdict


class Remedies(QWidget):
    """A button for the best remedy, and a menu of the others; always in sight, however long the words are."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.best = push_button(tr("Remedy"), "primary")
        self.others = icon_button("menu", tr("Other remedies"))
        self.others.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.others.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.menu = QMenu(self.others)
        self.menu.setToolTipsVisible(True)
        self.others.setMenu(self.menu)
        self.best.clicked.connect(lambda: self.chosen.emit(self.names[0]))
        self.reason = ElidedLabel(tr("Needs a run that is under way"), "caption")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(theme.space(0.5))
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.reason, 0, 0, 1, 2)
        grid.addWidget(self.best, 1, 0)
        grid.addWidget(self.others, 1, 1)

    def offer(self, names: Sequence[str], useless: Mapping[str, str]) -> None:
        """Offer some remedies, the best first, or none; those that are of no use now, with the reason, come last."""
        self.names = sorted(names, key=lambda name: name in useless)
        self.setVisible(bool(names))
        self.others.setVisible(len(names) > 1)
        self.menu.clear()
        for place, name in enumerate(self.names):
            title, explanation = (tr(words) for words in remedy_words(name))
            if place == 0:
                self.best.setText(title)
                self.best.setAccessibleName(title)
            else:
                self.menu.addAction(title, partial(self.chosen.emit, name))
            control = self.menu.actions()[-1] if place else self.best
            control.setToolTip(useless.get(name, explanation))
            control.setEnabled(name not in useless)
        self.reason.setVisible(bool(names) and not self.best.isEnabled())


class EventPanel(Card):
    """The newest verdict, unless an event was picked in the lane."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Verdict"), parent)
        self._record: RunRecord | None = None
        self._picked: Event | None = None
        self._place: int | None = None
        self._shown: object = None
        self._under_way = False
        self.heading = Verdict()
        self.sentence, self.advice = label("", "body", wrap=True), label("", "body", wrap=True)
        self.instead, self.where = label("", "caption", wrap=True), label("", "caption", wrap=True)
        self.remedies = Remedies()
        self._evidence_words: list[str] = []
        self.before = icon_button("chevron-left", tr("Earlier verdict"))
        self.after = icon_button("chevron-right", tr("Later verdict"))
        self.before.clicked.connect(lambda: self._turn(-1))
        self.after.clicked.connect(lambda: self._turn(1))
        self._lay_out()
        self.refresh()

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._record, self._picked, self._place, self._shown = record, None, None, None
        self.refresh()

    def set_under_way(self, under_way: bool) -> None:
        """Say whether the run is under way: what acts on the run itself can be chosen only then."""
        if under_way != self._under_way:
            self._under_way, self._shown = under_way, None
            self.refresh()

    def pick(self, event: Event | None) -> None:
        """Show an event of the lane; None goes back to the newest verdict."""
        self._picked, self._place = event, None
        if event is not None and event.row == VERDICT and self._record is not None:
            steps = [verdict.step for verdict in self._record.verdicts]
            self._picked, self._place = None, steps.index(event.step)
        self.refresh()

    def refresh(self) -> None:
        """Take in verdicts that are new."""
        verdicts = self._record.verdicts if self._record else []
        place = len(verdicts) - 1 if self._place is None else self._place
        several = len(verdicts) > 1 or (self._picked is not None and bool(verdicts))
        self.before.setVisible(several)
        self.after.setVisible(several)
        self.before.setEnabled(self._picked is not None or place > 0)
        self.after.setEnabled(self._picked is not None or place < len(verdicts) - 1)
        shown = self._picked or (verdicts[place] if verdicts else None)
        count = tr("{number} of {count}").format(number=place + 1, count=len(verdicts))
        self.set_summary(count if several and not self._picked else "")
        self.title.setText(tr("Event") if self._picked else tr("Verdict"))
        self.setAccessibleName(self.title.text())
        if shown is None or shown != self._shown:
            self._shown = shown
            self._show(shown)

    def text(self) -> str:
        """Return everything that is said."""
        parts = (self.sentence, self.advice, self.instead, self.where)
        words = (self.heading.text, *(part.text() for part in parts), *self._evidence_words)
        return "\n".join(part for part in words if part)

    def _show(self, shown: Event | OverflowDiagnosed | None) -> None:
        self._clear()
        if isinstance(shown, OverflowDiagnosed):
            self._show_verdict(shown)
        elif shown is not None:
            self.heading.set(shown.text[:1].upper() + shown.text[1:], "none")
            self._show_evidence(self._around(shown.step))
        else:
            self._show_nothing()
        self._scroll.verticalScrollBar().setValue(0)

    def _show_verdict(self, verdict: OverflowDiagnosed) -> None:
        self.heading.set(tr(verdict_title(verdict.verdict)), "bad" if verdict.harmful else "good")
        for part, words in zip((self.sentence, self.advice), verdict_words(verdict), strict=True):
            part.setText(with_breaks(words))
        words = tr("Evidence at step {step}") if verdict.evidence else tr("At step {step}")
        self.where.setText(words.format(step=f"{verdict.step:,}"))
        useless = {} if self._under_way else {name: why for name in verdict.remedies if (why := ended_words(name))}
        self.instead.setText("\n".join(useless.values()))
        for part in (self.sentence, self.advice, self.instead, self.where):
            part.setVisible(bool(part.text()))
        self._show_evidence(verdict.evidence)
        self.remedies.offer(verdict.remedies, useless)

    def _show_nothing(self) -> None:
        if self._record is None or not self._record.state.step:
            self.heading.set(tr("What the diagnosis finds is said here."), "none")
            return
        skipped = len(self._record.skips)
        words = tr("Nothing to report: no step was skipped.")
        if skipped:
            words = trn(
                "Nothing to report; {count} step was skipped.",
                "Nothing to report; {count} steps were skipped.",
                skipped,
            ).format(count=f"{skipped:,}")
        self.heading.set(words, "good")

    def _clear(self) -> None:
        self.remedies.offer([], {})
        self._evidence_words = []
        while self._evidence.rowCount():
            self._evidence.removeRow(0)
        for part in (self.sentence, self.advice, self.instead, self.where):
            part.setText("")
            part.hide()

    def _show_evidence(self, evidence: Mapping[str, Any]) -> None:
        for name, value in evidence_rows(evidence):
            words = label(value, "caption", wrap=True)
            words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._evidence.addRow(label(name, "caption"), words)
            self._evidence_words.append(tr("{name}: {value}").format(name=name, value=value))

    def _around(self, step: int) -> dict[str, Any]:
        """What the sample of exactly this step knows, if there is one."""
        record = self._record
        sample = sample_at(record.samples, step) if record else None
        if sample is None or record is None or record.numerics is None or sample.step != step:
            return {}
        return _not_finite(sample, record.numerics.modules)

    def _turn(self, direction: int) -> None:
        """Go to the verdict before or after; from another event, back to the newest verdict."""
        verdicts = self._record.verdicts if self._record else []
        last = len(verdicts) - 1
        if self._picked is None:
            place = last if self._place is None else self._place
            self._place = min(max(place + direction, 0), last)
        self._picked = None
        if self._place == last:
            self._place = None
        self.refresh()

    def _lay_out(self) -> None:
        for button in (self.before, self.after):
            self.header.addWidget(button)
        inside = QWidget()
        self._evidence = QFormLayout()
        self._evidence.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._evidence.setHorizontalSpacing(theme.space(1.5))
        self._evidence.setVerticalSpacing(theme.space(0.5))
        words = (self.heading, self.sentence, self.advice, self.instead, self.where)
        vbox(*words, self._evidence, STRETCH, spacing=1, margins=(0, 0, 0.5, 0), parent=inside)
        self._scroll = scrolled(inside, tr("Verdict"))
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body.addWidget(self._scroll, 1)
        self.body.addWidget(self.remedies)


def _not_finite(sample: NumericsSampled, names: list[str]) -> dict[str, Any]:
    """Where the values of a sample were not finite: first in the forward pass, first in the backward pass."""
    found: dict[str, Any] = {}
    for direction, key in (("activation", "first_activation"), ("gradient", "first_gradient")):
        shares = getattr(sample, f"{direction}_non_finite")
        count = sum(share > 0 for share in shares)
        module = hottest(sample, direction)  # type: ignore[arg-type]
        if count and module is not None:
            found[key] = names[module]
            found[f"{direction}_modules"] = f"{count} / {len(names)}"
    return found
