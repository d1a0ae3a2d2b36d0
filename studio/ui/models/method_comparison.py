"""The table of the methods: a row per method, what it amounts to for the chosen model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt

from studio.engine.methods import METHODS, Method
from studio.i18n import gettext_noop, tr
from studio.runner.actions import Estimate, MethodRow
from studio.runner.words import exports_text, merging_text
from studio.text import numbers
from studio.text.numbers import count_text, share_text, size_text
from studio.ui import theme
from studio.ui.models.table import LEFT, Column, Index, TableModel, bold_font
from studio.ui.override import override
from studio.ui.widgets.cells import MEMORY_ROLE, MemoryCell
from studio.ui.widgets.memory_bar import parts_text
from studio.ui.widgets.verdict import sign_pixmap


@dataclass(frozen=True, kw_only=True)
class MethodColumn(Column):
    """A column whose text is made from the estimate or from the method."""

    size: Callable[[Estimate], str] | None = None
    fact: Callable[[Method], str] | None = None


def _memory_text(needs: Estimate) -> str:
    size = size_text(needs.total_bytes)
    return size if needs.fits else tr("{size}, does not fit").format(size=size)


COLUMNS = (
    MethodColumn(
        gettext_noop("Method"),
        gettext_noop("In the order in which they are offered."),
        fact=lambda method: tr(method.title),
    ),
    MethodColumn(
        gettext_noop("Trained"),
        gettext_noop("Parameters that are trained, and their share of all."),
        right=True,
        size=lambda needs: (
            f"{count_text(needs.trainable_parameters)}\n"
            f"{share_text(needs.trainable_parameters, needs.total_parameters)}"
        ),
    ),
    MethodColumn(
        gettext_noop("Saved patch"),
        gettext_noop("Size of the trained part, as a run saves it."),
        right=True,
        size=lambda needs: size_text(needs.patch_bytes),
    ),
    MethodColumn(
        gettext_noop("Memory"),
        gettext_noop(
            "Most memory that training will take. All bars have one scale; a line marks the memory that is there."
        ),
        size=_memory_text,
    ),
    MethodColumn(
        gettext_noop("Merges"),
        gettext_noop("Whether the trained part can be folded into the weights, at no cost in use."),
        fact=lambda method: merging_text(method)[0],
    ),
    MethodColumn(
        gettext_noop("Cost in use"),
        gettext_noop("What the trained part costs when the model answers."),
        fact=lambda method: tr(method.cost_in_use),
    ),
    MethodColumn(
        gettext_noop("Exports"),
        gettext_noop("The forms in which the result can be exported."),
        fact=lambda method: exports_text(method) or tr("None yet"),
    ),
)
NAME, TRAINED, MEMORY, COST, EXPORTS = 0, 1, 3, 5, 6


class MethodModel(TableModel):
    """Every method of the registry; the rows are waiting until they are shown."""

    def __init__(self, chosen: str) -> None:
        super().__init__(COLUMNS)
        self._chosen = chosen
        self._methods = {method.name: method for method in METHODS}
        self._rows: Sequence[MethodRow] = tuple(MethodRow(name=name) for name in self._methods)
        self._whole = 1

    def show(self, rows: Sequence[MethodRow]) -> None:
        """Show what has been estimated."""
        self.beginResetModel()
        self._rows = tuple(rows)
        self._whole = max((row.estimate.total_bytes for row in self._rows if row.estimate), default=1)
        self.endResetModel()

    def row(self, place: int) -> MethodRow:
        """Return a row of the table."""
        return self._rows[place]

    def title(self, name: str) -> str:
        """Return the title of a method."""
        return tr(self._methods[name].title)

    def place(self, name: str) -> int:
        """Return the row of a method."""
        return [row.name for row in self._rows].index(name)

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self._rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(row, column)
            case Qt.ItemDataRole.ToolTipRole:
                return self._tooltip(row, column)
            case Qt.ItemDataRole.AccessibleTextRole if column == MEMORY and row.estimate is not None:
                return tr("{name}: {value}").format(name=self._text(row, column), value=parts_text(row.estimate.bytes))
            case Qt.ItemDataRole.TextAlignmentRole:
                return LEFT if row.problem else COLUMNS[column].alignment
            case Qt.ItemDataRole.DecorationRole if column == TRAINED and row.problem:
                return sign_pixmap("bad", theme.space(2), theme.application().devicePixelRatio())
            case Qt.ItemDataRole.ForegroundRole:
                return self._colour(row, column)
            case Qt.ItemDataRole.FontRole if column == NAME and row.name == self._chosen:
                return bold_font()
        if role == MEMORY_ROLE and column == MEMORY and row.estimate is not None:
            return MemoryCell(row.estimate, self._whole)
        return None

    def _text(self, row: MethodRow, column: int) -> str:
        described = COLUMNS[column]
        if column == NAME and row.name == self._chosen:
            return tr("{method}\n(chosen)").format(method=self.title(row.name))
        if column == TRAINED and row.problem:
            return row.problem
        if described.fact is not None:
            return described.fact(self._methods[row.name])
        assert described.size is not None
        return numbers.NONE if row.estimate is None else described.size(row.estimate)

    def _tooltip(self, row: MethodRow, column: int) -> str:
        if column == NAME:
            return tr(self._methods[row.name].explanation)
        if row.problem:
            return row.problem
        return parts_text(row.estimate.bytes) if column == MEMORY and row.estimate else self._text(row, column)

    def _colour(self, row: MethodRow, column: int) -> Any:
        colours = theme.palette()
        if column == TRAINED and row.problem:
            return colours.bad
        if column == MEMORY and row.estimate is not None and not row.estimate.fits:
            return colours.warning
        return None
