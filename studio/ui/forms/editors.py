"""The editors of options. All have `changed`, `value`, `set_value`, `problem` and `describe`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QLineEdit, QMenu, QPlainTextEdit, QSlider, QWidget

from studio.config import OptionSpec, Suggestion
from studio.i18n import tr
from studio.ui import icons, theme
from studio.ui.forms.numbers import next_power, number_text, parse_number
from studio.ui.override import override
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.switch import Switch
from studio.ui.widgets.text import label

MOST_SEGMENTS, MOST_LETTERS = 4, 44


class Editor(QWidget):
    """Edits one option. `main` is the widget that gets the focus; `below` needs the width of the whole row."""

    changed = Signal()
    main: QWidget

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.below: QWidget | None = None
        self._row = hbox(parent=self)

    def value(self) -> Any:
        """Return the value; text that is not a value is returned as it was typed."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show what `value` returns; None is "not set"."""
        raise NotImplementedError

    def offer(self, suggestions: Sequence[Suggestion]) -> None:
        """Offer other names, where the option chooses among some."""

    def show_automatic(self, value: Any) -> None:
        """Say what the option amounts to as long as it is not set."""

    def problem(self) -> str:
        """Return what is wrong with the value, in a sentence, or nothing."""
        return ""

    def show_problem(self, problem: str) -> None:
        """Mark the field as wrong, or as right again."""

    def describe(self, name: str, description: str) -> None:
        """Tell screen readers what this is."""
        if isinstance(self.main, Segmented):
            self.main.describe(name, description)
            return
        self.main.setAccessibleName(name)
        self.main.setAccessibleDescription(description)

    def _take(self, main: QWidget) -> None:
        self.main = main
        self._row.addWidget(main)
        self.setFocusProxy(main)


class LineEditor(Editor):
    """A line of text, the base of what is typed."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.line = _Line()
        self.line.setPlaceholderText(tr("Automatic") if spec.optional else "")
        self._take(self.line)
        self.line.textChanged.connect(self.changed)

    @override
    def show_problem(self, problem: str) -> None:
        self.line.setProperty("wrong", bool(problem))
        self.line.style().polish(self.line)


class NumberEditor(LineEditor):
    """A whole or a real number; the up and down keys step a whole one, and one with offers by powers.

    What people mostly take is offered in a menu at the end of the line.
    """

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.line.setAlignment(Qt.AlignmentFlag.AlignRight)
        # "Automatic" must not be cut, beside a unit neither.
        self.line.setFixedWidth(theme.characters(26 if spec.optional and spec.unit else 18))
        self.line.set_unit(tr(spec.unit))
        if spec.kind == "integer" or spec.offers:
            self.line.stepped.connect(self._step)
        if spec.offers:
            offer = QAction(tr("Customary values (Alt+Down)"), self.line)
            icons.bind(offer, "chevron-down", "muted")
            offer.triggered.connect(self._show_offers)
            self.line.addAction(offer, QLineEdit.ActionPosition.TrailingPosition)

    @override
    def value(self) -> int | float | str | None:
        try:
            return parse_number(self.line.text(), self.spec)
        except ValueError:
            return self.line.text()

    @override
    def set_value(self, value: float | str | None) -> None:
        self.line.setText(number_text(value) if isinstance(value, int | float) else value or "")

    @override
    def problem(self) -> str:
        try:
            parse_number(self.line.text(), self.spec)
        except ValueError as error:
            return str(error)
        return ""

    @override
    def show_automatic(self, value: float) -> None:
        self.line.setPlaceholderText(tr("Automatic: {value}").format(value=number_text(value)))

    def _step(self, by: int) -> None:
        value = self.value()
        if isinstance(value, str) or value is None:
            return
        wanted = next_power(value, by) if self.spec.offers else value + by
        low, high = self.spec.minimum, self.spec.maximum
        if (low is None or wanted >= low) and (high is None or wanted <= high):
            self.set_value(wanted)

    def _show_offers(self) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for value in self.spec.offers:
            menu.addAction(number_text(value)).triggered.connect(lambda _=False, value=value: self.set_value(value))
        menu.popup(self.line.mapToGlobal(self.line.rect().bottomLeft()))


class TextEditor(LineEditor):
    """Free text."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.line.setMinimumWidth(theme.characters(24))

    @override
    def value(self) -> str | None:
        return self.line.text().strip() or (None if self.spec.optional else "")

    @override
    def set_value(self, value: str | None) -> None:
        self.line.setText(value or "")


class ListEditor(TextEditor):
    """Words separated by commas or spaces."""

    @override
    def value(self) -> Any:
        words = split_words(self.line.text())
        return words or (None if self.spec.optional else [])

    @override
    def set_value(self, value: Any) -> None:
        self.line.setText(value if isinstance(value, str) else ", ".join(value or ()))


class LinesEditor(Editor):
    """Texts, one a line; as high as a few of them."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.text = QPlainTextEdit()
        self.text.setTabChangesFocus(True)
        self.text.setPlaceholderText(tr("One a line"))
        self.text.setFixedWidth(theme.characters(38))
        self.text.setFixedHeight(theme.space(9))
        self._take(self.text)
        self.text.textChanged.connect(self.changed)

    @override
    def value(self) -> list[str]:
        return [line.strip() for line in self.text.toPlainText().splitlines() if line.strip()]

    @override
    def set_value(self, value: Sequence[str] | None) -> None:
        self.text.setPlainText("\n".join(value or ()))


class FlagEditor(Editor):
    """Yes or no."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.switch = Switch()
        self._take(self.switch)
        self.switch.toggled.connect(self.changed)

    @override
    def value(self) -> bool:
        return self.switch.isChecked()

    @override
    def set_value(self, value: bool | None) -> None:
        self.switch.setChecked(bool(value))


class ChoiceEditor(Editor):
    """One of a few values: side by side when they are short, in a list otherwise."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        choices = [(value, tr(label)) for value, label in spec.choices]
        if spec.optional:
            choices.insert(0, ("", tr("Automatic")))
        self.choice = choice_widget(choices)
        self._take(self.choice)
        self.choice.changed.connect(self.changed)

    @override
    def value(self) -> str | None:
        return self.choice.value() or None

    @override
    def set_value(self, value: str | None) -> None:
        self.choice.set_value(value or "")


class ShareEditor(Editor):
    """A share from the lower to the upper bound, as a slider in per cent."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(100 * (spec.minimum or 0.0)), round(100 * (spec.maximum or 1.0)))
        self.slider.setPageStep(5)
        self.slider.setFixedWidth(theme.characters(24))
        self.slider.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.slider.wheelEvent = lambda event: event.ignore()  # type: ignore[method-assign]
        self._take(self.slider)
        self.slider.valueChanged.connect(self.changed)

    @override
    def value(self) -> float:
        return self.slider.value() / 100

    @override
    def set_value(self, value: float | None) -> None:
        self.slider.setValue(round(100 * (value or 0.0)))


class _Line(QLineEdit):
    """A line with a unit inside, that tells of the up and down keys."""

    stepped = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._unit = label("", "caption", self)

    def set_unit(self, unit: str) -> None:
        """Show a unit inside the line, behind the text."""
        self._unit.setText(unit)
        self._unit.ensurePolished()
        self._unit.adjustSize()
        if unit:
            self.setTextMargins(0, 0, self._unit.width() + theme.space(0.5), 0)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        left = self.width() - self._unit.width() - theme.space(1.25)
        self._unit.move(left, (self.height() - self._unit.height()) // 2)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}
        if event.key() in steps and event.modifiers() == Qt.KeyboardModifier.AltModifier and self.actions():
            self.actions()[0].trigger()
        elif event.key() in steps:
            self.stepped.emit(steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)


def choice_widget(choices: list[tuple[str, str]]) -> Segmented | ComboBox:
    """Return the widget that suits the number and the length of the choices."""
    letters = sum(len(label) for _, label in choices)
    fits = len(choices) <= MOST_SEGMENTS and letters <= MOST_LETTERS
    return Segmented(choices) if fits else ComboBox(choices)


def split_words(text: str) -> list[str]:
    """Return the words of a text that are separated by spaces, commas or semicolons."""
    return [word for word in re.split(r"[\s,，、;；]+", text) if word]
