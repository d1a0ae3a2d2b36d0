"""A form from a section of the configuration: the one place where a control gets its label, bounds, help and name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, TypeAlias

from pydantic import ValidationError
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.config import OptionSpec, Section, Suggestion, options
from studio.errors import ConfigError
from studio.i18n import tr
from studio.ui.forms.editors import ChoiceEditor, Editor, FlagEditor, ListEditor, NumberEditor, TextEditor
from studio.ui.forms.names import NamesEditor
from studio.ui.forms.row import FormRow
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import vbox

EditorFactory: TypeAlias = Callable[[OptionSpec], Editor]
_EDITORS: dict[str, EditorFactory] = {
    "integer": NumberEditor,
    "number": NumberEditor,
    "text": TextEditor,
    "list": ListEditor,
    "flag": FlagEditor,
    "choice": ChoiceEditor,
    "names": NamesEditor,
}


class Form(QWidget):
    """Rows for the options of `section`, the advanced ones behind a line that unfolds.

    Args:
        keys: only these options; all when None.
        editors: another editor for some of the keys.
        more: what stands on the line that the advanced options are behind.
    """

    changed = Signal()

    def __init__(
        self,
        section: type[Section],
        keys: Collection[str] | None = None,
        editors: Mapping[str, EditorFactory] | None = None,
        more: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.section = section
        self.rows: dict[str, FormRow] = {}
        self._noted: Set[str] = set()  # the keys whose note says that their value is unusual
        layout = vbox(spacing=0, parent=self)
        specs = [spec for spec in options(section) if keys is None or spec.key in keys]
        self._add_rows(layout, [spec for spec in specs if not spec.advanced], editors or {})
        if advanced := [spec for spec in specs if spec.advanced]:
            self.more = Disclosure(more or tr("More options"))
            layout.addWidget(self.more)
            self._add_rows(self.more.content, advanced, editors or {})
        self.changed.connect(self._follow)
        self.set_values({})

    def values(self) -> dict[str, Any]:
        """Return the values as they stand in CONFIG.toml; what is not set is left out."""
        values = {key: row.editor.value() for key, row in self.rows.items()}
        return {key: value for key, value in values.items() if value is not None}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these values, and the default of every option that is not among them."""
        for key, row in self.rows.items():
            row.editor.set_value(values.get(key, row.editor.spec.default))
        self._follow()

    def offer(self, suggestions: Mapping[str, Sequence[Suggestion]]) -> None:
        """Offer other names where an option chooses among some, by `OptionSpec.suggestions`."""
        for row in self.rows.values():
            row.editor.offer(suggestions.get(row.editor.spec.suggestions, ()))

    def problem(self) -> str:
        """Return the first thing that is wrong, with the title of its row, or nothing."""
        for row in self.rows.values():
            if row.problem:
                return tr("{option}: {problem}").format(option=row.title, problem=row.problem)
        return ""

    def _follow(self) -> None:
        """Switch off what has no meaning with the others as they are; say what is automatic, and what is unusual."""
        for row in self.rows.values():
            if (when := row.editor.spec.when) is not None and when[0] in self.rows:
                other = self.rows[when[0]]
                reason = tr("Has no effect while “{option}” is set as it is.").format(option=other.title)
                row.set_enabled(other.editor.value() == when[1], reason)
        try:
            section: Section | None = self.section.model_validate(self.values())
        except (ValidationError, ConfigError):
            section = None
        for key, value in (section.automatic() if section else {}).items():
            self.rows[key].editor.show_automatic(value)
        unusual = {key: said for key, said in (section.unusual() if section else {}).items() if key in self.rows}
        for key in self._noted | unusual.keys():
            self.rows[key].note.set(unusual.get(key, ""), "warning")
        self._noted = unusual.keys()

    def _add_rows(self, layout: QVBoxLayout, specs: list[OptionSpec], editors: Mapping[str, EditorFactory]) -> None:
        taken = {row.mnemonic for row in self.rows.values()}
        for spec in specs:
            editor = editors.get(spec.key, _EDITORS[spec.kind])(spec)
            row = FormRow(self.section, editor, taken, first=layout.isEmpty())
            taken.add(row.mnemonic)
            row.changed.connect(self.changed)
            self.rows[spec.key] = row
            layout.addWidget(row)
