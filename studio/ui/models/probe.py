"""The table of the precision probe: a row per precision, those that are still to come among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt

from studio.engine.precision import PRECISIONS
from studio.i18n import gettext_noop, tr
from studio.runner.probe import ProbeRow, objection, precisions_in_order
from studio.text import numbers
from studio.text.numbers import share_text, size_text
from studio.ui import theme
from studio.ui.models.table import Column, Index, TableModel, bold_font
from studio.ui.override import override
from studio.ui.widgets.verdict import Level, sign_pixmap


@dataclass(frozen=True, kw_only=True)
class ProbeColumn(Column):
    """A column of numbers."""

    right: bool = True
    text: Callable[[ProbeRow], str]


def _share(value: float | None) -> str:
    return numbers.NONE if value is None else share_text(value, 1.0)


COLUMNS: tuple[Column, ...] = (
    Column(gettext_noop("Precision")),
    ProbeColumn(
        gettext_noop("Loss vs fp32"),
        gettext_noop("The largest relative difference to the loss of fp32, over all updates."),
        text=lambda row: _share(row.loss_difference),
    ),
    ProbeColumn(
        gettext_noop("Gradient cosine"),
        gettext_noop(
            "How far the gradients of the first update point where those of fp32 do: 1 is the same direction."
        ),
        text=lambda row: numbers.NONE if row.gradient_cosine is None else f"{row.gradient_cosine:.4f}",
    ),
    ProbeColumn(
        gettext_noop("Gradients lost"),
        gettext_noop("Gradients that are zero here and not in fp32."),
        text=lambda row: _share(row.gradients_lost),
    ),
    ProbeColumn(
        gettext_noop("Subnormal"),
        gettext_noop("Gradients that fp16 keeps with less detail, because they are below 2⁻¹⁴ at the loss scale."),
        text=lambda row: _share(row.gradients_subnormal),
    ),
    ProbeColumn(
        gettext_noop("Tokens/s"),
        gettext_noop("Speed, without the first update."),
        text=lambda row: numbers.whole(row.tokens_per_second),
    ),
    ProbeColumn(
        gettext_noop("Memory"),
        gettext_noop("Peak memory: of the process on a processor, of the tensors on a GPU."),
        text=lambda row: numbers.NONE if row.peak_memory is None else size_text(row.peak_memory),
    ),
    Column(gettext_noop("Result")),
)
RESULT = len(COLUMNS) - 1


class ProbeModel(TableModel):
    """The rows in the order in which they are measured."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self._rows: Sequence[ProbeRow] = ()
        self._measuring = False
        self._recommended: str | None = None

    @property
    def measured(self) -> int:
        """How many rows have been measured."""
        return len(self._rows)

    def show(self, rows: Sequence[ProbeRow], *, measuring: bool, recommended: str | None = None) -> None:
        """Show what has been measured so far; `measuring`: the next row is under way."""
        self.beginResetModel()
        self._rows, self._measuring, self._recommended = tuple(rows), measuring, recommended
        self.endResetModel()

    def row(self, place: int) -> ProbeRow | None:
        """Return what was measured in a row of the table, if it was."""
        return self._rows[place] if place < len(self._rows) else None

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(precisions_in_order())

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        place, column = index.row(), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(place, column)
            case Qt.ItemDataRole.ToolTipRole:
                return tr(COLUMNS[column].meaning) if 0 < column < RESULT else self._text(place, RESULT)
            case Qt.ItemDataRole.TextAlignmentRole:
                return COLUMNS[column].alignment
            case Qt.ItemDataRole.DecorationRole if column == RESULT:
                return sign_pixmap(self._level(place), theme.space(2), theme.application().devicePixelRatio())
            case Qt.ItemDataRole.ForegroundRole if column == RESULT:
                return self._colour(place)
            case Qt.ItemDataRole.FontRole if self._is_best(place):
                return bold_font()
        return None

    def _is_best(self, place: int) -> bool:
        row = self.row(place)
        return row is not None and row.precision == self._recommended

    def _text(self, place: int, column: int) -> str:
        row, described = self.row(place), COLUMNS[column]
        if column == 0:
            return tr(PRECISIONS.get(precisions_in_order()[place]).title)
        if row is None:
            waiting = tr("Measuring …") if self._measuring and place == len(self._rows) else tr("Not measured yet")
            return waiting if column == RESULT else numbers.NONE
        if isinstance(described, ProbeColumn):
            return described.text(row)
        return tr("Best here. {result}").format(result=row.sentence) if self._is_best(place) else row.sentence

    def _level(self, place: int) -> Level:
        row = self.row(place)
        if row is None:
            return "busy" if self._measuring and place == len(self._rows) else "none"
        if row.status == "measured":
            return "warning" if objection(row) else "good"
        return "none" if row.status == "unavailable" else "bad"

    def _colour(self, place: int) -> Any:
        colours = theme.palette()
        return {"good": colours.text, "warning": colours.warning, "bad": colours.bad}.get(
            self._level(place), colours.muted
        )
