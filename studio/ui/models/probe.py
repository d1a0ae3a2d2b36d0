"""The table of the precision probe: a row per precision, those that are still to come among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont
from typing_extensions import override

from studio.engine.precision import PRECISIONS
from studio.i18n import gettext_noop, tr
from studio.runner.probe import ProbeRow, objection, precisions_in_order
from studio.text import numbers
from studio.text.numbers import share_text, size_text
from studio.ui import theme
from studio.ui.widgets.verdict import Level, sign_pixmap

Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class Column:
    """A column of numbers: its title, what it means, and its text."""

    title: str
    meaning: str
    text: Callable[[ProbeRow], str]


def _share(value: float | None) -> str:
    return numbers.NONE if value is None else share_text(value, 1.0)


NUMBERS = (
    Column(
        gettext_noop("Loss vs fp32"),
        gettext_noop("The largest relative difference to the loss of fp32, over all updates."),
        lambda row: _share(row.loss_difference),
    ),
    Column(
        gettext_noop("Gradient cosine"),
        gettext_noop(
            "How far the gradients of the first update point where those of fp32 do: 1 is the same direction."
        ),
        lambda row: numbers.NONE if row.gradient_cosine is None else f"{row.gradient_cosine:.4f}",
    ),
    Column(
        gettext_noop("Gradients lost"),
        gettext_noop("Gradients that are zero here and not in fp32."),
        lambda row: _share(row.gradients_lost),
    ),
    Column(
        gettext_noop("Subnormal"),
        gettext_noop("Gradients that fp16 keeps with less detail, because they are below 2⁻¹⁴ at the loss scale."),
        lambda row: _share(row.gradients_subnormal),
    ),
    Column(
        gettext_noop("Tokens/s"),
        gettext_noop("Speed, without the first update."),
        lambda row: numbers.whole(row.tokens_per_second),
    ),
    Column(
        gettext_noop("Memory"),
        gettext_noop("Peak memory: of the process on a processor, of the tensors on a GPU."),
        lambda row: numbers.NONE if row.peak_memory is None else size_text(row.peak_memory),
    ),
)
RESULT = len(NUMBERS) + 1  # the last column; the first is the precision


class ProbeModel(QAbstractTableModel):
    """The rows in the order in which they are measured."""

    def __init__(self) -> None:
        super().__init__()
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
    def columnCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else RESULT + 1

    @override
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return tr(_title(section))
            case Qt.ItemDataRole.ToolTipRole:
                return tr(_meaning(section))
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(section)
        return None

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        place, column = index.row(), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(place, column)
            case Qt.ItemDataRole.ToolTipRole:
                return tr(_meaning(column)) if 0 < column < RESULT else self._text(place, RESULT)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case Qt.ItemDataRole.DecorationRole if column == RESULT:
                return sign_pixmap(self._level(place), theme.space(2), theme.application().devicePixelRatio())
            case Qt.ItemDataRole.ForegroundRole if column == RESULT:
                return self._colour(place)
            case Qt.ItemDataRole.FontRole if self._is_best(place):
                return _bold()
        return None

    def _is_best(self, place: int) -> bool:
        row = self.row(place)
        return row is not None and row.precision == self._recommended

    def _text(self, place: int, column: int) -> str:
        row = self.row(place)
        if column == 0:
            return tr(PRECISIONS.get(precisions_in_order()[place]).title)
        if row is None:
            waiting = tr("Measuring …") if self._measuring and place == len(self._rows) else tr("Not measured yet")
            return waiting if column == RESULT else numbers.NONE
        if column < RESULT:
            return NUMBERS[column - 1].text(row)
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


def _title(column: int) -> str:
    return (
        gettext_noop("Precision")
        if column == 0
        else gettext_noop("Result")
        if column == RESULT
        else NUMBERS[column - 1].title
    )


def _meaning(column: int) -> str:
    return NUMBERS[column - 1].meaning if 0 < column < RESULT else ""


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if 0 < column < RESULT else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def _bold() -> QFont:
    font = QFont(theme.application().font())
    font.setWeight(QFont.Weight.DemiBold)
    return font
