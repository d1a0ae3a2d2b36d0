"""The table of past runs: one row a run, every column sorted by what it means rather than by how it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSortFilterProxyModel, Qt

from studio.i18n import gettext_noop
from studio.runs import Glance
from studio.text import numbers
from studio.text.numbers import duration_text
from studio.text.retention import retention_share
from studio.text.visible import in_line
from studio.ui import theme
from studio.ui.models.run_summary import (
    RunSummary,
    loss_text,
    method_title,
    name_text,
    short_name,
    state_text,
    when_text,
)
from studio.ui.models.table import Column, Index, TableModel
from studio.ui.override import override

LOSSES_ROLE = Qt.ItemDataRole.UserRole
_COLOURS = {"finished": "good", "failed": "bad", "damaged": "bad", "interrupted": "warning"}


@dataclass(frozen=True, kw_only=True)
class RunColumn(Column):
    """A column of texts, and what it is sorted by."""

    text: Callable[[RunSummary], str]
    key: Callable[[RunSummary], Any]


def _name_key(run: RunSummary) -> tuple[bool, str]:
    return not run.label.star, (run.label.name or short_name(run)).lower()


def searched_text(run: RunSummary) -> str:
    """Return all words by which a run is found, in small letters."""
    words = (column.text(run) for column in COLUMNS)
    return "\n".join((*words, run.folder.name, run.label.notes)).lower()


def _least(value: float | None) -> float:
    return -math.inf if value is None else value


COLUMNS = (
    RunColumn(gettext_noop("Started"), text=lambda run: when_text(run.created), key=lambda run: _least(run.created)),
    RunColumn(
        gettext_noop("Name"),
        gettext_noop("The name that you gave the run, or that of its folder without the time; its star and its tags"),
        text=name_text,
        key=_name_key,
    ),
    RunColumn(gettext_noop("Model"), text=lambda run: run.model or numbers.NONE, key=lambda run: run.model.lower()),
    RunColumn(
        gettext_noop("Method"), text=lambda run: method_title(run.method) or numbers.NONE, key=lambda run: run.method
    ),
    RunColumn(gettext_noop("Precision"), text=lambda run: run.precision or numbers.NONE, key=lambda run: run.precision),
    RunColumn(gettext_noop("Status"), text=state_text, key=lambda run: run.status),
    RunColumn(
        gettext_noop("Updates"),
        right=True,
        text=lambda run: numbers.whole(run.updates),
        key=lambda run: _least(run.updates),
    ),
    RunColumn(gettext_noop("Validation loss"), right=True, text=loss_text, key=lambda run: _least(run.last_loss)),
    RunColumn(
        gettext_noop("Retention"),
        gettext_noop("Perplexity of the base on general texts, divided by that of the result: less is forgetting"),
        right=True,
        text=lambda run: numbers.NONE if run.retention is None else retention_share(run.retention),
        key=lambda run: _least(run.retention),
    ),
    RunColumn(
        gettext_noop("Duration"),
        right=True,
        text=lambda run: numbers.NONE if run.seconds is None else duration_text(run.seconds),
        key=lambda run: _least(run.seconds),
    ),
    RunColumn(
        gettext_noop("Loss"),
        gettext_noop("The course of the training loss, from its lowest to its highest value"),
        text=lambda run: "",
        key=lambda run: _least(run.last_loss),
    ),
    RunColumn(
        gettext_noop("Size"),
        gettext_noop("The disk space that the folder of the run takes, with its checkpoints and exports"),
        right=True,
        text=lambda run: "",
        key=lambda run: 0,
    ),
)


NAME, CURVE, SIZE = (
    next(place for place, column in enumerate(COLUMNS) if column.title == title) for title in ("Name", "Loss", "Size")
)


class RunsModel(TableModel):
    """Runs as rows, in the order of one of the columns."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self._runs: Sequence[RunSummary] = ()
        self._glances: dict[Path, Glance] = {}
        self._sorted_by, self._order = 0, Qt.SortOrder.DescendingOrder

    @property
    def sorted_by_size(self) -> bool:
        """Whether the order depends on what is known only of runs that were looked at."""
        return self._sorted_by == SIZE

    def show_glances(self, glances: Mapping[Path, Glance]) -> None:
        """Show the sizes and the losses of some runs, by their folders."""
        self._glances.update(glances)
        if self.sorted_by_size:
            self.sort(self._sorted_by, self._order)
        rows = [row for row, run in enumerate(self._runs) if run.folder.path in glances]
        if rows:
            self.dataChanged.emit(self.index(rows[0], CURVE), self.index(rows[-1], SIZE))

    def set_runs(self, runs: Sequence[RunSummary]) -> None:
        """Show other runs."""
        self.beginResetModel()
        self._runs = self._in_order(runs)
        self.endResetModel()

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Put the runs in the order of what a column means; a run whose size is not known yet counts as the smallest.

        Python sorts them, with one key for each run. Qt would ask for two at each of 25,000 comparisons.
        """
        self._sorted_by, self._order = column, order
        self.layoutAboutToBeChanged.emit()
        before, kept = self._runs, self.persistentIndexList()
        self._runs = self._in_order(before)
        rows = {run.folder.path: row for row, run in enumerate(self._runs)}
        moved = [self.index(rows[before[index.row()].folder.path], index.column()) for index in kept]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    def _in_order(self, runs: Sequence[RunSummary]) -> Sequence[RunSummary]:
        key = self._size if self.sorted_by_size else COLUMNS[self._sorted_by].key
        return sorted(runs, key=key, reverse=self._order == Qt.SortOrder.DescendingOrder)

    def _size(self, run: RunSummary) -> int:
        glance = self._glances.get(run.folder.path)
        return -1 if glance is None else glance.size

    def run(self, row: int) -> RunSummary:
        return self._runs[row]

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._runs)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        run, column = self._runs[index.row()], COLUMNS[index.column()]
        if index.column() in (CURVE, SIZE):
            found = self._seen(run, column, role)
            if found is not None:
                return found
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return in_line(column.text(run))
            case Qt.ItemDataRole.TextAlignmentRole:
                return column.alignment
            case Qt.ItemDataRole.ToolTipRole:
                whole = "\n".join(filter(None, (run.folder.name, run.label.notes)))
                about = whole if column.title == "Name" else column.text(run)
                if column.title == "Status" and run.computer:
                    return f"{about}: {numbers.computer_text(run.computer, run.written)}"
                return run.problem or about
            case Qt.ItemDataRole.ForegroundRole if column.title == "Status" and run.status in _COLOURS:
                return getattr(theme.palette(), _COLOURS[run.status])
        return None

    def _seen(self, run: RunSummary, column: RunColumn, role: int) -> Any:
        """What is known of a run only once its folder was walked; None where nothing is."""
        glance = self._glances.get(run.folder.path)
        match role:
            case Qt.ItemDataRole.DisplayRole if column is COLUMNS[SIZE]:
                return numbers.NONE if glance is None else numbers.size_text(glance.size)
            case _ if role == LOSSES_ROLE and column is COLUMNS[CURVE]:
                return () if glance is None else glance.losses
        return None


class RunsFilter(QSortFilterProxyModel):
    """Keeps the rows in which any column holds the words asked for, in the order of the model."""

    def __init__(self, model: RunsModel) -> None:
        super().__init__()
        self._model = model
        self.setSourceModel(model)
        self._words: list[str] = []

    def search(self, text: str) -> None:
        """Keep the runs in which every one of the words is found."""
        self.beginFilterChange()
        self._words = text.lower().split()
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._model.sort(column, order)

    @override
    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        if not self._words:
            return True
        text = searched_text(self._model.run(row))
        return all(word in text for word in self._words)

    def run(self, index: Index) -> RunSummary:
        """Return the run of a row of the table as it is shown."""
        return self._model.run(self.mapToSource(index).row())
