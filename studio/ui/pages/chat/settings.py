"""How both models are asked: the options of `ChatSettings` in two lines."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.config import options
from studio.engine.inference.answers import ChatSettings
from studio.i18n import sentences, tr
from studio.ui import theme
from studio.ui.forms.editors import ChoiceEditor, Editor, NumberEditor, TextEditor
from studio.ui.forms.numbers import bounds_text
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label

_EDITORS: dict[str, type[Editor]] = {
    "integer": NumberEditor,
    "number": NumberEditor,
    "text": TextEditor,
    "choice": ChoiceEditor,
}


class ChatOptions(QWidget):
    """The same for both models, so that what differs is what training did."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.editors: dict[str, Editor] = {}
        cells = {}
        for spec in options(ChatSettings):
            self.editors[spec.key] = editor = _EDITORS[spec.kind](spec)
            cells[spec.key] = _cell(editor)
            editor.set_value(spec.default)
            editor.changed.connect(self._changed)
        first = flow((cells["system"], 1, theme.characters(24)), cells["asked"], spacing=2)
        second = hbox(*(cells[key] for key in ("temperature", "top_p", "limit", "seed")), STRETCH, spacing=1)
        vbox(first, second, spacing=1, parent=self)

    @property
    def problem(self) -> str:
        """What is wrong with the first wrong value, with its title; "" where all are right."""
        for editor in self.editors.values():
            if problem := editor.problem():
                return tr("{option}: {problem}").format(option=tr(editor.spec.title), problem=problem)
        return ""

    @property
    def settings(self) -> ChatSettings:
        """The values; there must be no problem with them."""
        return ChatSettings(**{key: editor.value() for key, editor in self.editors.items()})

    def _changed(self) -> None:
        for editor in self.editors.values():
            editor.show_problem(editor.problem())
        self.changed.emit()


def _cell(editor: Editor) -> QVBoxLayout:
    """Return an editor below its title."""
    title, help_text = tr(editor.spec.title), tr(editor.spec.help)
    bounds = bounds_text(editor.spec)
    editor.describe(title, help_text)
    editor.setToolTip(sentences((help_text, tr("Allowed: {bounds}.").format(bounds=bounds))) if bounds else help_text)
    name = label(title, "caption")
    name.setBuddy(editor.main)
    return vbox(name, editor, spacing=0.25)
