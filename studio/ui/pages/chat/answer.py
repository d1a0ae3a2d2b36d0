"""What one model has said in one turn, with its tokens under the mouse."""

from __future__ import annotations

import math
from bisect import bisect_right

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QHelpEvent, QTextCharFormat, QTextCursor, QTextOption, QWheelEvent
from PySide6.QtWidgets import QApplication, QFrame, QSizePolicy, QTextEdit, QToolTip, QWidget

from studio.engine.inference.answers import Token
from studio.i18n import tr, trn
from studio.runner.conversation import Said
from studio.text.numbers import duration_text, share_text, speed_text
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label


class AnswerText(QTextEdit):
    """Read-only text that grows with its tokens. What a model says is text: no HTML, no links, no pictures."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setProperty("kind", "answer")
        self.document().setDocumentMargin(0)
        self._tokens: list[Token] = []
        self._ends: list[int] = []  # of each token, in characters of the document
        self._difference: int | None = None
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        theme.notifier().changed.connect(self._mark)
        self.viewport().installEventFilter(self)
        self._fit()

    def show_tokens(self, tokens: list[Token], difference: int | None) -> None:
        """Show an answer as far as it goes; `difference` is the place of the token to mark."""
        if tokens == self._tokens and difference == self._difference:
            return  # the column beside is asked as well at every token, and a layout takes time from the model
        known = len(self._tokens)
        # While an answer streams, the tokens that are shown are those that were: the last one tells.
        same = known <= len(tokens) and (
            not known
            or tokens[known - 1] is self._tokens[-1]
            or all(old.text == new.text for old, new in zip(self._tokens, tokens, strict=False))
        )
        if not same:
            self.clear()
            self._ends = []
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        for token in tokens[len(self._ends) :]:
            cursor.insertText(token.text, QTextCharFormat())
            self._ends.append(cursor.position())
        self._tokens = list(tokens)
        self._difference = difference
        self._mark()

    def token_at(self, position: int) -> int | None:
        """Return the place of the token that holds a character of the document."""
        place = bisect_right(self._ends, position)
        return place if place < len(self._ends) else None

    def _mark(self) -> None:
        """Mark the first token that differs: coloured, and underlined, so that colour is not the only carrier."""
        marks = []
        if self._difference is not None and self._difference < len(self._ends):
            text = self._tokens[self._difference].text
            begin = self._ends[self._difference - 1] if self._difference else 0
            begin += len(text) - len(text.lstrip(" ")) if text.strip() else 0  # the word, not the space before it
            mark = QTextEdit.ExtraSelection()
            cursor = QTextCursor(self.document())
            cursor.setPosition(begin)
            cursor.setPosition(self._ends[self._difference], QTextCursor.MoveMode.KeepAnchor)
            mark.cursor = cursor
            colours = theme.palette()
            mark.format.setBackground(colours.accent_soft)
            mark.format.setForeground(colours.accent)
            mark.format.setFontUnderline(True)
            marks.append(mark)
        self.setExtraSelections(marks)

    def _fit(self) -> None:
        self.setFixedHeight(math.ceil(self.document().size().height()) + 2 * self.frameWidth())

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # A filter, and not the method of the viewport: painting would hold Python's lock, which the model needs.
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            place = self.token_at(self.cursorForPosition(event.pos()).position())
            words = token_text(self._tokens[place], differs=place == self._difference) if place is not None else ""
            QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().eventFilter(watched, event)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # the conversation scrolls, not one answer


class AnswerView(QFrame):
    """An answer on a card; below it how long it took, and what can be done with it."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.text = AnswerText(name)
        self.facts = label("", "caption", wrap=True)
        self.copy = icon_button("copy", tr("Copy this answer"))
        self.keep = icon_button("data", tr("Add this conversation to a data file, as a row to learn from"))
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self.text.toPlainText()))
        below = hbox((self.facts, 1), self.copy, self.keep, spacing=0.5)
        vbox(self.text, below, spacing=0.75, margins=(1.5, 1.5, 1, 0.75), parent=self)

    def show_said(self, said: Said, difference: int | None, waiting: str) -> None:
        """Show an answer as far as it goes; `waiting` stands there before its first token."""
        self.text.show_tokens(said.tokens, difference)
        self.facts.setText(facts_text(said) or ("" if said.tokens else waiting))
        for button in (self.copy, self.keep):
            button.setVisible(bool(said.tokens) and (said.answer is not None or said.stopped))


def quoted(token: Token) -> str:
    """Return a token so that spaces and line ends can be seen."""
    if not token.text:
        return tr("(no text)")
    return f"“{token.text}”".replace("\n", "⏎").replace("\t", "⇥")


def token_text(token: Token, *, differs: bool = False) -> str:
    """Return what is known of a token, in a few lines."""
    lines = [quoted(token), tr("This model: {share}").format(share=share_text(token.probability, 1))]
    if token.other is not None:
        lines.append(tr("The other model: {share}").format(share=share_text(token.other, 1)))
    if differs:
        lines.append(tr("Here the answers part."))
    return "\n".join(lines)


def facts_text(said: Said) -> str:
    """Return how an answer went: its length, its times, and how it ended; "" while it is not complete."""
    if said.stopped:
        count = len(said.tokens)
        words = trn("Stopped after {count} token", "Stopped after {count} tokens", count)
        return words.format(count=count) if count else tr("Not asked")
    answer = said.answer
    if answer is None:
        return ""
    count = len(answer.tokens)
    parts = [trn("{count} token", "{count} tokens", count).format(count=count)]
    first = answer.first_token_seconds
    parts.append(tr("first after {time}").format(time=f"{1000 * first:.0f} ms" if first < 1 else duration_text(first)))
    later = answer.seconds - first
    if len(answer.tokens) > 1 and later > 0:
        parts.append(speed_text((len(answer.tokens) - 1) / later))
    parts.append(tr("ended by itself") if answer.ended else tr("cut at the limit"))
    return " · ".join(parts)
