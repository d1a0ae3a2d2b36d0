"""One option on the page: title and help on the left, the control on the right, a note and an error below."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import ValidationError
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from studio.config import Section
from studio.errors import ConfigError
from studio.i18n import tr
from studio.runner.guide import sentence_of
from studio.text.numbers import in_percent
from studio.ui import theme
from studio.ui.forms.editors import Editor, ShareEditor
from studio.ui.forms.numbers import bounds_text
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

LEAST = 30  # characters in a line of the help, beside the control


class FormRow(QWidget):
    """Wires an editor to its title, help, bounds, unit, mnemonic and error.

    `note` is for whoever knows more about the value than the option does: what it amounts to, or a warning.
    """

    changed = Signal()

    def __init__(self, section: type[Section], editor: Editor, taken: Collection[str], *, first: bool) -> None:
        super().__init__()
        self.editor = editor
        self.title = tr(editor.spec.title)
        self.problem = ""
        self._section = section
        self._name = label("")
        self.take_mnemonic(taken)
        self._name.setBuddy(editor.main)
        self._name.setToolTip(sentence_of(editor.spec.key))
        self._error = label("", "error", wrap=True)
        self._error.hide()
        self.note = Verdict("caption")
        self._share = label("", "value") if isinstance(editor, ShareEditor) else None
        editor.describe(self.title, tr(editor.spec.help))
        if bounds := bounds_text(editor.spec):
            editor.setToolTip(tr("Allowed: {bounds}.").format(bounds=bounds))
        self._lay_out(first)
        self._show_share()
        editor.changed.connect(self._changed)

    def take_mnemonic(self, taken: Collection[str]) -> None:
        """Take the first letter of the title that is free as Alt key."""
        text, self.mnemonic = with_mnemonic(self.title, taken)
        self._name.setText(text)

    def set_enabled(self, enabled: bool, reason: str = "") -> None:
        """Switch the control off, with the reason in place of its help, or on again."""
        self.editor.setEnabled(enabled)
        if self.editor.below is not None:
            self.editor.below.setEnabled(enabled)
        self._help.setText(tr(self.editor.spec.help) if enabled or not reason else reason)

    def _lay_out(self, first: bool) -> None:
        self._help = label(tr(self.editor.spec.help), "caption", wrap=True)
        words = vbox(self._name, self._help, self.note, self._error, spacing=0.25)
        shown = [self._share] if self._share else []
        control = hbox(*shown, (self.editor, 0, Qt.AlignmentFlag.AlignVCenter), spacing=1)
        whole = vbox(spacing=0, parent=self)
        if not first:
            hairline = QFrame()
            hairline.setProperty("kind", "rule")
            whole.addWidget(hairline)
        least = theme.characters(LEAST)
        whole.addLayout(flow((words, 1, least), control, spacing=3, margins=(0, 1.25, 0, 1.25)))
        if self.editor.below is not None:
            whole.addWidget(self.editor.below)

    def _changed(self) -> None:
        self._show_share()
        self.problem = self.editor.problem() or self._refusal()
        self.editor.show_problem(self.problem)
        self._error.setText(self.problem)
        self._error.setVisible(bool(self.problem))
        self.changed.emit()

    def _show_share(self) -> None:
        if self._share is not None:
            self._share.setText(in_percent(f"{round(100 * self.editor.value())}"))

    def _refusal(self) -> str:
        """What the configuration itself has against the value, where it knows more than kind and bounds."""
        key = self.editor.spec.key
        try:
            self._section.model_validate({key: self.editor.value()})
        except ConfigError as error:
            return str(error)
        except ValidationError as error:
            return next((_sentence(found["msg"]) for found in error.errors() if found["loc"][:1] == (key,)), "")
        return ""


def _sentence(message: str) -> str:
    """A message of pydantic's as it stands below a field."""
    words = message.removeprefix("Value error, ")
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def share_mnemonics(rows: Iterable[FormRow], taken: Collection[str]) -> None:
    """Let no two rows of a page have the same Alt key, nor one that is taken. Who has a free one keeps it.

    Where there are more rows than letters, those of the options that everybody sees come first.
    """
    used, shown = set(taken), list(rows)
    for advanced in (False, True):
        without = []
        for row in (row for row in shown if row.editor.spec.advanced is advanced):
            if row.mnemonic and row.mnemonic not in used:
                used.add(row.mnemonic)
            else:
                without.append(row)
        for row in without:
            row.take_mnemonic(used)
            used.add(row.mnemonic)


def with_mnemonic(title: str, taken: Collection[str]) -> tuple[str, str]:
    """Mark the first free Latin letter of a title as its Alt key; a title without one gets none.

    Chinese titles get a letter in brackets behind them, as is the custom.
    """
    escaped = title.replace("&", "&&")
    for place, letter in enumerate(escaped):
        if letter.isascii() and letter.isalpha() and letter.lower() not in taken:
            return f"{escaped[:place]}&{escaped[place:]}", letter.lower()
    free = next((letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken), "")
    return (f"{escaped}(&{free.upper()})", free) if free and not title.isascii() else (escaped, "")
