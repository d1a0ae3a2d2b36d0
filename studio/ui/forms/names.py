"""A choice with the names that the chosen model offers: ticked in a list, or typed while no model is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QLineEdit, QWidget

from studio.config import OptionSpec, Suggestion
from studio.i18n import tr
from studio.ui.forms.editors import Editor, choice_widget, split_words
from studio.ui.override import override
from studio.ui.widgets.check_list import CheckList
from studio.ui.widgets.layout import vbox

BY_NAME = ""


class NamesEditor(Editor):
    """One of the choices of an option, or names.

    A short name stands for every name on offer that ends in it, from a dot on; it stays as it was written until
    somebody ticks. A name that is not on offer stands at the end of the list, so that it can be taken away.
    """

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self._offered: tuple[Suggestion, ...] = ()
        self._names: list[str] = []
        self._last = spec.choices[0][0]
        self.choice = choice_widget([*((value, tr(label)) for value, label in spec.choices), (BY_NAME, tr("By name"))])
        self.below = self._field = QWidget(self)
        self.line, self.list = QLineEdit(), CheckList()
        self.line.setPlaceholderText(tr("Names, separated by commas"))
        self.list.setToolTip(tr("Arrow keys move, Space ticks"))
        vbox(self.line, self.list, margins=(0, 0, 0, 1.25), parent=self._field)
        self._take(self.choice)
        self.choice.changed.connect(self._chosen)
        self.line.textEdited.connect(self._typed)
        self.list.changed.connect(self._ticked)

    @override
    def value(self) -> list[str]:
        word = self.choice.value()
        return list(self._names) if word == BY_NAME else [word]

    @override
    def set_value(self, value: Any) -> None:
        names = split_words(value) if isinstance(value, str) else list(value or ())
        word = names[0] if len(names) == 1 and names[0] in dict(self.spec.choices) else BY_NAME
        self._last, self._names = (self._last, names) if word == BY_NAME else (word, [])
        self.choice.blockSignals(True)
        self.choice.set_value(word)
        self.choice.blockSignals(False)
        self._show()
        self.changed.emit()

    @override
    def offer(self, suggestions: Sequence[Suggestion]) -> None:
        self._offered = tuple(suggestions)
        if self.choice.value() != BY_NAME:
            self._names = []  # the names of another model must not come back when the list is shown again
        self._show()

    @override
    def problem(self) -> str:
        return "" if self.value() else tr("Name at least one.")

    @override
    def show_problem(self, problem: str) -> None:
        for field in (self.line, self.list):
            field.setProperty("wrong", bool(problem))
            field.style().polish(field)

    @override
    def describe(self, name: str, description: str) -> None:
        super().describe(name, description)
        for field in (self.line, self.list):
            field.setAccessibleName(tr("{option}, by name").format(option=name))
            field.setAccessibleDescription(description)

    def _chosen(self) -> None:
        """Begin a choice by name with the names that the choice before it included."""
        word = self.choice.value()
        if word != BY_NAME:
            self._last = word
        elif not self._names:
            self._names = [found.value for found in self._offered if self._last in found.within]
        self._show()
        self.changed.emit()

    def _typed(self, text: str) -> None:
        self._names = split_words(text)
        self.changed.emit()

    def _ticked(self) -> None:
        self._names = self.list.checked()
        self.changed.emit()

    def _show(self) -> None:
        self._field.setVisible(self.choice.value() == BY_NAME)
        self.line.setVisible(not self._offered)
        self.list.setVisible(bool(self._offered))
        self.line.setText(", ".join(self._names))
        offered = [found.value for found in self._offered]
        others = [name for name in self._names if not any(_stands_for(name, one) for one in offered)]
        ticked = {one for one in offered if any(_stands_for(name, one) for name in self._names)}
        items = [(found.value, found.detail) for found in self._offered]
        self.list.set_items([*items, *((name, tr("written by hand")) for name in others)], ticked | set(others))


def _stands_for(name: str, offered: str) -> bool:
    return offered == name or offered.endswith(f".{name}")
