"""The table of what a search of the hub has found: models with what training them would take here, or datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt

from studio.i18n import gettext_noop, tr
from studio.runner.actions import Found, Kind
from studio.text import numbers
from studio.text.hub import access_text, licence_text, outlook_sentence, outlook_text, rows_text
from studio.text.numbers import count_text, size_text
from studio.text.visible import in_line
from studio.ui import theme
from studio.ui.models.table import Column, Index, TableModel
from studio.ui.override import override
from studio.ui.widgets.verdict import Level, sign_pixmap

if TYPE_CHECKING:
    from studio.engine.estimate.unseen import Outlook


@dataclass(frozen=True, kw_only=True)
class HubColumn(Column):
    """A column; without a text of its own it says how the model fits, or what of it is on this computer."""

    text: Callable[[Found], str] | None = None


_LAST = (
    HubColumn(
        gettext_noop("Licence"), gettext_noop("As the hub names it."), text=lambda found: licence_text(found.licence)
    ),
    HubColumn(
        gettext_noop("Access"),
        gettext_noop("Whether anybody may download it, or its terms have to be accepted on its page first."),
        text=lambda found: access_text(gated=found.gated),
    ),
    HubColumn(
        gettext_noop("Downloads"),
        gettext_noop("In the last 30 days; on ModelScope of all time."),
        right=True,
        text=lambda found: numbers.NONE if found.downloads is None else count_text(found.downloads),
    ),
    HubColumn(
        gettext_noop("Changed"),
        gettext_noop("Day of its last change."),
        right=True,
        text=lambda found: found.updated or numbers.NONE,
    ),
)
COLUMNS: dict[Kind, tuple[HubColumn, ...]] = {
    "model": (
        HubColumn(gettext_noop("Model"), gettext_noop("Its id on the hub."), text=lambda found: found.id),
        HubColumn(
            gettext_noop("Parameters"),
            gettext_noop("The number of its weights."),
            right=True,
            text=lambda found: count_text(found.parameters) if found.parameters else numbers.NONE,
        ),
        HubColumn(
            gettext_noop("Size"),
            gettext_noop("What the weights take on the disk; on ModelScope all files."),
            right=True,
            text=lambda found: size_text(found.bytes) if found.bytes else numbers.NONE,
        ),
        *_LAST,
        HubColumn(
            gettext_noop("On this computer"),
            gettext_noop(
                "The most thorough way to train it that fits the memory that is free now, with the settings of a new "
                "run. It is computed from config.json, before anything is downloaded."
            ),
        ),
    ),
    "dataset": (
        HubColumn(gettext_noop("Dataset"), gettext_noop("Its id on the hub."), text=lambda found: found.id),
        HubColumn(
            gettext_noop("Rows"),
            gettext_noop("About how many, as the hub says it."),
            text=lambda found: rows_text(found.rows),
        ),
        *_LAST,
    ),
}
NAME = 0
SPARED = (5, 6)
"""The columns of models that a narrow table does without: downloads and the day of the last change."""


class HubModel(TableModel):
    """What was found, the most downloaded first."""

    def __init__(self, kind: Kind) -> None:
        self.columns = COLUMNS[kind]
        super().__init__(self.columns)
        self._found: tuple[Found, ...] = ()
        self._outlooks: dict[str, Outlook] = {}
        self._here: dict[str, str] = {}

    def show(self, found: Sequence[Found], here: Mapping[str, str]) -> None:
        """Show what was found; `here` says by id what is on this computer already, in words."""
        self.beginResetModel()
        self._found, self._outlooks, self._here = tuple(found), {}, dict(here)
        self.endResetModel()

    def show_outlooks(self, outlooks: Mapping[str, Outlook]) -> None:
        """Show what training takes, of the models of which it is known by now."""
        if outlooks.keys() != self._outlooks.keys():
            self._outlooks = dict(outlooks)
            last = len(self.columns) - 1
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, last))

    def found(self, row: int) -> Found:
        """Return what a row shows."""
        return self._found[row]

    def outlook(self, row: int) -> Outlook | None:
        """Return what training the model of a row takes, as far as that is known."""
        return self._outlooks.get(self._found[row].id)

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._found)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        found, column = self._found[index.row()], self.columns[index.column()]
        outlook = self._outlooks.get(found.id) if column.text is None else None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return in_line(self._text(found, column))
            case Qt.ItemDataRole.ToolTipRole:
                return outlook_sentence(outlook) if outlook else self._text(found, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return column.alignment
            case Qt.ItemDataRole.DecorationRole if outlook:
                return sign_pixmap(level_of(outlook), theme.space(2), theme.application().devicePixelRatio())
            case Qt.ItemDataRole.ForegroundRole if column.text is not None and index.column() != NAME:
                return theme.palette().muted
        return None

    def _text(self, found: Found, column: HubColumn) -> str:
        if column.text is not None:
            return column.text(found)
        if found.id in self._outlooks:
            return outlook_text(self._outlooks[found.id])
        return self._here.get(found.id, tr("…"))


def level_of(outlook: Outlook) -> Level:
    """Return the sign of an outlook."""
    if outlook.unknown:
        return "note"
    return "good" if outlook.fits else "bad" if outlook.problem else "warning"
