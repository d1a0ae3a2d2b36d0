"""Tables for Qt of which all columns are described in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override

Index = QModelIndex | QPersistentModelIndex
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class Column:
    """A column: its title, what it means, and whether it is aligned to the right, as numbers are."""

    title: str
    meaning: str = ""
    right: bool = False

    @property
    def alignment(self) -> Qt.AlignmentFlag:
        return RIGHT if self.right else LEFT


class TableModel(QAbstractTableModel):
    """The header of a table. A subclass gives the number of rows and the data of the cells."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._columns = columns

    @override
    def columnCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    @override
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        column = self._columns[section]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return tr(column.title)
            case Qt.ItemDataRole.ToolTipRole if column.meaning:
                return tr(column.meaning)
            case Qt.ItemDataRole.TextAlignmentRole:
                return column.alignment
        return None


def bold_font() -> QFont:
    """Return the font of the row that stands out."""
    font = QFont(theme.application().font())
    font.setWeight(QFont.Weight.DemiBold)
    return font
