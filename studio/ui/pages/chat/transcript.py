"""What was asked and answered: below each prompt, both answers side by side."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from studio.engine.inference.answers import Token
from studio.i18n import tr
from studio.runner.conversation import Turn
from studio.text.numbers import share_text
from studio.ui.pages.chat.answer import AnswerView, quoted
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.text import label


class TurnView(QWidget):
    """One prompt and its two answers; the base, or what stands in its place, is on the left.

    `keep_requested` carries the turn and the side of an answer that is to become a row of a data file.
    """

    keep_requested = Signal(object, str)

    def __init__(self, turn: Turn, names: tuple[str, str], parent: QWidget | None = None) -> None:
        """`names` are those of the other model and of the tuned one."""
        super().__init__(parent)
        self.turn = turn
        prompt = label(turn.prompt, wrap=True)
        prompt.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        prompt.setAccessibleName(tr("You asked: {prompt}").format(prompt=turn.prompt))
        asked = QFrame()
        asked.setProperty("kind", "inset")
        vbox(prompt, margins=(1.5, 1, 1.5, 1), parent=asked)
        words = tr("Answer of {model}")
        self.other, self.tuned = (AnswerView(words.format(model=name)) for name in names)
        self.difference = label("", "caption", wrap=True)
        self.expected = label("", "caption", wrap=True)
        for view, side in ((self.tuned, "tuned"), (self.other, "other")):
            view.keep.clicked.connect(partial(self.keep_requested.emit, turn, side))
        answers = hbox(
            (self.other, 1, Qt.AlignmentFlag.AlignTop), (self.tuned, 1, Qt.AlignmentFlag.AlignTop), spacing=2
        )
        vbox(asked, answers, self.difference, self.expected, spacing=1, parent=self)
        self.refresh()

    def refresh(self, waiting: str = "") -> None:
        """Show what was said since; `waiting` stands where an answer has not begun."""
        place = self.turn.difference
        self.tuned.show_said(self.turn.tuned, place, waiting)
        self.other.show_said(self.turn.other, place, waiting)
        self.difference.setText(difference_text(self.turn))
        self.difference.setVisible(bool(self.difference.text()))
        self.expected.setText(tr("Known answer: {answer}").format(answer=self.turn.expected))
        self.expected.setVisible(bool(self.turn.expected))


class Transcript(QWidget):
    """All turns, the newest at the bottom and in sight unless the user has scrolled up.

    `keep_requested` is that of its turns.
    """

    keep_requested = Signal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._holder = QWidget()
        self._column = vbox(STRETCH, spacing=2, parent=self._holder)
        self.area = scrolled(self._holder, tr("Conversation"))
        self.views: list[TurnView] = []
        self._follows = True
        vbox(self.area, parent=self)
        bar = self.area.verticalScrollBar()
        bar.valueChanged.connect(lambda value: self._look(value >= bar.maximum() - bar.singleStep()))
        bar.rangeChanged.connect(lambda _low, high: bar.setValue(high) if self._follows else None)

    def clear(self) -> None:
        """Show nothing."""
        for view in self.views:
            self._column.removeWidget(view)
            view.deleteLater()
        self.views = []

    def add(self, turn: Turn, names: tuple[str, str]) -> None:
        """Show one more turn."""
        view = TurnView(turn, names)
        view.keep_requested.connect(self.keep_requested)
        self.views.append(view)
        self._column.insertWidget(self._column.count() - 1, view)
        self._follows = True

    def take_back(self) -> None:
        """Remove the newest turn."""
        view = self.views.pop()
        self._column.removeWidget(view)
        view.deleteLater()

    def _look(self, at_end: bool) -> None:
        self._follows = at_end


def difference_text(turn: Turn) -> str:
    """Return where the two answers part, in a sentence; "" while that is not known."""
    tuned, other = turn.tuned, turn.other
    if tuned.answer is None or other.answer is None or not turn.comparable:
        return ""
    place = turn.difference
    if place is None:
        same = len(tuned.tokens) == len(other.tokens)
        return tr("Both answers are the same.") if same else tr("One answer begins with the other.")
    words = tr("The answers part at token {place}: the left model takes {other}, the right one {tuned}.")
    return words.format(place=place + 1, other=_shares(other.tokens[place]), tuned=_shares(tuned.tokens[place]))


def _shares(token: Token) -> str:
    """Return a token with its probability, and that by the other model where it is known."""
    own = share_text(token.probability, 1)
    if token.other is None:
        return tr("{token} ({share})").format(token=quoted(token), share=own)
    words = tr("{token} ({share}; the other gives it {other})")
    return words.format(token=quoted(token), share=own, other=share_text(token.other, 1))
