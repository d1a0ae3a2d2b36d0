"""The X-ray: every row of a dataset as the model will see it, page by page, and what is wrong with the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QWidget

from studio.engine.control import Progress
from studio.i18n import tr, trn
from studio.text.numbers import count_text, share_text
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.xray.findings import Findings
from studio.ui.dialogs.xray.rows_view import Legend, RowsView
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import hbox, scrolled, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.data.findings.base import Finding
    from studio.engine.data.xray import LengthHistogram, LengthSuggestion, Places, XRay, XRayRow

PAGE = 10
"""Rows of a page."""
_LETTERS = 60
"""Letters of a finding in the list of what can be shown."""
_SHORT, _LONG = 4000, 200_000
"""Characters that are shown of a row at most: where it shares a page, and where it has one of its own."""

Open: TypeAlias = Callable[[Progress], "XRay"]
Measured: TypeAlias = "tuple[XRay, LengthHistogram, LengthSuggestion | None]"
ALL, LONGEST, TRUNCATED, SKIPPED, FOUND, GIVEN = "all", "longest", "truncated", "skipped", "found", "given"


class XRayDialog(QDialog):
    """`remedy_chosen` carries the `Remedy` of a finding that the user takes.

    Args:
        name: what is shown, such as the name of the file.
        limit: the longest row that the model reads, in tokens, where it has a limit.
    """

    remedy_chosen = Signal(object)

    def __init__(self, context: AppContext, name: str, limit: int | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("X-ray of {name}").format(name=name))
        offer_guide(self, "setup", "data")
        self.xray: XRay | None = None
        self._limit = limit
        self._findings: Sequence[Finding] = ()
        self._given: tuple[str, Sequence[int]] = ("", ())
        self._found: list[int] = []
        self._sought = ""
        self._places: Places = np.zeros(0, dtype=np.int64)
        self._first = 0
        self._build()
        self._lay_out(name)
        self._connect(context)
        resize_dialog(self, 190, 92)
        self._show_state()

    def read(self, open_xray: Open) -> None:
        """Open the rows anew; what was shown stays until they are there."""
        self._search.drop()
        self.verdict.set(tr("Reading the rows …"), "busy")
        limit = self._limit

        def open_and_measure(progress: Progress) -> Measured:
            xray = open_xray(progress)
            return xray, xray.histogram(), xray.suggestion(limit)

        self._opening.start_soon(open_and_measure)

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """List what is wrong with the rows."""
        self._findings = findings
        self.findings.show_findings(findings)
        self._offer_rows()

    def show_numbers(self, title: str, numbers: Sequence[int]) -> None:
        """Show the rows with these numbers, in this order; `title` says what they have in common."""
        self._given = (title, numbers)
        self._offer_rows()
        self.shown.set_value(GIVEN)

    @override
    def done(self, result: int) -> None:
        """Stop the background work, however the dialog ends."""
        for job in (self._opening, self._reading, self._search):
            job.drop()
        super().done(result)

    def _build(self) -> None:
        self.facts = ElidedLabel("", "muted")
        self.shown = ComboBox()
        self.shown.describe(tr("Rows to show"), tr("All rows, or those that have something in common"))
        self.shown.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.search = QLineEdit(clearButtonEnabled=True)
        self.search.setPlaceholderText(tr("Search the rows"))
        self.search.setAccessibleName(tr("Search the rows"))
        self.search.setToolTip(tr("Text that rows contain, whatever its case; Enter searches (Ctrl+F)"))
        self.rows = RowsView()
        self.words = label("", "caption")
        self.number = QLineEdit()
        self.number.setPlaceholderText(tr("Row"))
        self.number.setAccessibleName(tr("Number of the row to go to"))
        self.number.setToolTip(tr("Number of a row in the file; Enter goes there (Ctrl+G)"))
        self.number.setFixedWidth(theme.characters(14))
        self.rows_a_page = Segmented([("10", tr("Ten rows")), ("1", tr("One row"))])
        self.rows_a_page.describe(tr("Rows on a page"))
        self.back = icon_button("chevron-left", tr("Previous page (Ctrl+Page Up)"))
        self.on = icon_button("chevron-right", tr("Next page (Ctrl+Page Down)"))
        self.findings = Findings()
        self.progress = TaskProgress()
        self.verdict = Verdict()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close the X-ray (Esc)"))
        for button in (self.leave, *self.rows_a_page.findChildren(type(self.leave))):
            button.setAutoDefault(False)

    def _lay_out(self, name: str) -> None:
        heading = vbox(ElidedLabel(tr("X-ray of {name}").format(name=name), "title"), self.facts, spacing=0.25)
        tools = hbox((self.shown, 1), (self.search, 1), spacing=1)
        left = vbox(tools, (self.rows, 1), Legend(), self._pager(), spacing=1)
        side = scrolled(self.findings, tr("Findings"))
        side.setFixedWidth(theme.characters(58))
        side.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bottom = hbox((self.verdict, 1), (self.progress, 1), 0, self.leave, spacing=1)
        vbox(heading, (hbox((left, 1), side, spacing=2.5), 1), bottom, spacing=1.5, margins=(3, 2.5, 3, 2), parent=self)

    def _pager(self) -> QHBoxLayout:
        return hbox((self.words, 1), self.rows_a_page, self.number, self.back, self.on, spacing=1)

    def _connect(self, context: AppContext) -> None:
        self._opening = Job(self, context, tr("Reading the rows"))
        self._reading = Job(self, context, tr("Reading a page of rows"))
        self._search = Job(self, context, tr("Searching the rows"))
        self._opening.finished.connect(self._show_xray)
        self._opening.failed.connect(self._fail)
        self._opening.cancelled.connect(lambda: self._fail(tr("Reading was cancelled.")))
        self._reading.finished.connect(self._show_page)
        self._reading.failed.connect(self._fail)
        self._search.finished.connect(lambda _: self._end_search())
        self._search.failed.connect(self._fail)
        self._search.cancelled.connect(self._end_search)
        self._search.progressed.connect(self._follow_search)
        for job in (self._opening, self._search):
            job.progressed.connect(self.progress.report)
        self.progress.cancelled.connect(self._cancel)
        self.shown.changed.connect(self._choose_rows)
        self.search.returnPressed.connect(self._begin_search)
        self.number.returnPressed.connect(self._go_to_number)
        self.rows_a_page.changed.connect(lambda: self._turn_to(self._first))
        self.back.clicked.connect(lambda: self._turn_to(self._first - self._size))
        self.on.clicked.connect(lambda: self._turn_to(self._first + self._size))
        self.findings.wanted.connect(self._show_finding)
        self.findings.remedy_chosen.connect(self.remedy_chosen)
        self.leave.clicked.connect(self.reject)
        for keys, act in (
            (QKeySequence.StandardKey.Find, self.search.setFocus),
            ("Ctrl+G", self.number.setFocus),
            ("Ctrl+PgUp", self.back.click),
            ("Ctrl+PgDown", self.on.click),
        ):
            QShortcut(QKeySequence(keys), self, act)

    @property
    def _size(self) -> int:
        return int(self.rows_a_page.value())

    def _show_xray(self, measured: Measured) -> None:
        self.xray, histogram, suggestion = measured
        xray = self.xray
        self._found, self._sought = [], ""
        self.progress.hide()
        self.verdict.set("")
        tokens = int(xray.lengths.sum())
        facts = [trn("{rows} row", "{rows} rows", xray.rows).format(rows=f"{xray.rows:,}")]
        if xray.skipped_rows:
            facts.append(tr("{rows} skipped").format(rows=f"{xray.skipped_rows:,}"))
        if cut := len(xray.truncated()):
            facts.append(tr("{rows} cut").format(rows=f"{cut:,}"))
        words = tr("{tokens} tokens, {share} of them learnt")
        facts.append(words.format(tokens=count_text(tokens), share=share_text(int(xray.learnt.sum()), max(tokens, 1))))
        self.facts.set_text(" · ".join(facts))
        self.findings.show_lengths(histogram, suggestion)
        self._offer_rows()
        self._choose_rows()

    def _offer_rows(self) -> None:
        """Offer the kinds of rows that there are, with their counts."""
        choices = [(ALL, tr("All rows")), (LONGEST, tr("The longest first"))]
        if self.xray is not None:
            counted = (
                (TRUNCATED, tr("Cut rows ({count})"), len(self.xray.truncated())),
                (SKIPPED, tr("Skipped rows ({count})"), self.xray.skipped_rows),
            )
            choices += [(key, words.format(count=f"{count:,}")) for key, words, count in counted if count]
        if self._sought:
            words = tr("Rows with “{text}” ({count})")
            choices.append((FOUND, words.format(text=self._sought, count=f"{len(self._found):,}")))
        if self._given[1]:
            choices.append((GIVEN, self._given[0]))
        for finding in self._findings:
            if finding.rows and finding.name != TRUNCATED:
                choices.append((f"finding:{finding.name}", _shortened(finding.meaning())))
        self.shown.set_choices(choices)

    def _choose_rows(self) -> None:
        """Turn to the first of the chosen rows."""
        if self.xray is not None:
            self._places = self._chosen(self.xray, self.shown.value())
            self._turn_to(0)

    def _chosen(self, xray: XRay, key: str) -> Places:
        if key == FOUND:
            return np.array(self._found, dtype=np.int64)
        if key == GIVEN:
            order = {number: place for place, number in enumerate(self._given[1])}
            places = xray.numbered(order.keys())
            return places[np.argsort([order[number] for number in xray.numbers_of(places).tolist()], kind="stable")]
        if key.startswith("finding:"):
            finding = next(one for one in self._findings if one.name == key.removeprefix("finding:"))
            return xray.numbered(set(finding.rows))
        return {LONGEST: xray.longest, TRUNCATED: xray.truncated, SKIPPED: xray.all_skipped}.get(key, xray.all)()

    def _turn_to(self, first: int) -> None:
        """Show the page that holds one of the chosen rows."""
        xray = self.xray
        if xray is None:
            return
        last_page = max(len(self._places) - 1, 0) // self._size * self._size
        self._first = min(max(first // self._size * self._size, 0), last_page)
        page = self._places[self._first : self._first + self._size].tolist()
        self._reading.start(lambda progress: xray.page(page, progress))
        self._show_state()

    def _show_page(self, rows: Sequence[XRayRow]) -> None:
        self.rows.show_rows(rows, _SHORT if self._size > 1 else _LONG, self._sought)

    def _show_state(self) -> None:
        count = len(self._places)
        self.back.setEnabled(self._first > 0)
        self.on.setEnabled(self._first + self._size < count)
        last = min(self._first + self._size, count)
        words = tr("{first} to {last} of {count}") if last > self._first + 1 else tr("{last} of {count}")
        text = words.format(first=f"{self._first + 1:,}", last=f"{last:,}", count=f"{count:,}") if count else ""
        self.words.setText(text or (tr("No rows.") if self.xray is not None else ""))
        for part in (self.shown, self.search, self.number, self.rows_a_page):
            part.setEnabled(self.xray is not None)

    def _show_finding(self, name: str) -> None:
        if name == TRUNCATED and self.xray is not None:
            # Where no row is used, those that are too long are among the skipped ones.
            self.shown.set_value(TRUNCATED if len(self.xray.truncated()) else SKIPPED)
        else:
            self.shown.set_value(f"finding:{name}")

    def _go_to_number(self) -> None:
        """Show the page with the row of this number, in the order of the file."""
        text = self.number.text().strip().replace(",", "")
        if self.xray is None or not text.isdecimal() or len(text) > 18:
            return
        if self.shown.value() == LONGEST:
            self.shown.set_value(ALL)
        if len(self._places):
            self._turn_to(self.xray.nearest(self._places, int(text)))

    def _begin_search(self) -> None:
        xray, text = self.xray, self.search.text()
        if xray is None:
            return
        self._found, self._sought = [], text
        if text:
            self._search.start(partial(xray.search, text, self._found))
        else:
            self._search.drop()
            self.progress.hide()
        self._offer_rows()
        if text and self.shown.value() != FOUND:
            self.shown.set_value(FOUND)
        else:
            self._choose_rows()

    def _follow_search(self) -> None:
        """Count what was found so far, and show it while the page has room for more."""
        if self.shown.value() != FOUND or len(self._found) == len(self._places):
            return
        has_room = len(self._places) < self._first + self._size
        self._places = np.array(self._found, dtype=np.int64)
        self._offer_rows()
        if has_room:
            self._turn_to(self._first)
        self._show_state()

    def _end_search(self) -> None:
        self.progress.hide()
        self._offer_rows()
        self._follow_search()

    def _cancel(self) -> None:
        for job in (self._opening, self._search):
            if job.running:
                job.cancel()
        self.progress.hide()

    def _fail(self, sentence: str) -> None:
        self.progress.hide()
        self.verdict.set(sentence, "bad")


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= _LETTERS else f"{sentence[:_LETTERS].rstrip()} …"
