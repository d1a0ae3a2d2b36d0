"""Base or Chat? Two questions, a recommendation with its reason, and one click that applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.i18n import tr
from studio.runner.advice import Advice, advise
from studio.text.advice import advice_text, pick_text, remedy_text
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo


class Advisor(Disclosure):
    """`taken` carries the options of the recommendation, by dotted key."""

    taken = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Base or Chat? Two questions"), parent)
        self._found: ModelInfo | None = None
        self._advice: Advice | None = None
        self.purpose = Segmented([("dialogue", tr("Dialogue")), ("task", tr("A task"))])
        self.manners = Segmented([("keep", tr("Keep its manners")), ("own", tr("A format of my own"))])
        self.words = label("", wrap=True)
        self.pick = label("", "muted", wrap=True)
        self.apply = push_button(tr("Apply"))
        self.apply.clicked.connect(self._take)
        for question in (self.purpose, self.manners):
            question.changed.connect(self._show)
        parts = (
            _asked(self.purpose, tr("What is it to do?"), tr("Converse, or do a task: summarise, classify, extract.")),
            _asked(self.manners, tr("How is it to answer?"), tr("As it does now, or in a form that your rows show.")),
            vbox(self.words, self.pick, hbox(self.apply, STRETCH), spacing=0.75, margins=(0, 0.75, 0, 0)),
        )
        for part in parts:
            self.content.addLayout(part)
        self._show()

    def set_model(self, found: ModelInfo | None) -> None:
        """Advise on another model, as its files describe it."""
        self._found = found
        self._show()

    def _show(self) -> None:
        advice = advise(self.purpose.value() == "dialogue", self.manners.value() == "keep", self._found)
        self._advice = advice
        self.words.setText(advice_text(advice.code))
        self.apply.setVisible(bool(advice.options))
        self.apply.setText(_button_words(advice.options))
        self.apply.setAccessibleName(self.apply.text())
        wanted = "" if advice.options or self._found is None else pick_text(advice.kind, advice.name)
        self.pick.setText(wanted)
        self.pick.setVisible(bool(wanted))

    def _take(self) -> None:
        assert self._advice is not None
        self.taken.emit(self._advice.options)


def _button_words(options: dict[str, str]) -> str:
    if options.get("model.chat_template"):
        return remedy_text("install_template", options)
    return remedy_text("treat_as_base" if options.get("model.kind") == "base" else "treat_as_chat", options)


def _asked(choice: Segmented, question: str, hint: str) -> QHBoxLayout:
    choice.describe(question, hint)
    words = vbox(label(question), label(hint, "caption", wrap=True), spacing=0.25)
    return hbox((words, 1), choice, spacing=2, margins=(0, 0.5, 0, 0.5))
