"""The table of past runs: one row a run, every column sortable by what it means rather than by how it is written."""

from __future__ import annotations

import logging
import math
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QSortFilterProxyModel, Qt

from studio.engine.control import Progress, no_progress
from studio.engine.methods import METHODS
from studio.errors import RunFolderError
from studio.files import read_text
from studio.i18n import gettext_noop, tr
from studio.runner.continuing import CAN_GO_ON, lives_elsewhere
from studio.runs import Glance, RunFolder, RunLabel, find_runs, read_label
from studio.text import numbers
from studio.text.numbers import duration_text
from studio.text.retention import retention_share
from studio.text.visible import in_line
from studio.ui import theme
from studio.ui.models.table import Column, Index, TableModel
from studio.ui.override import override

log = logging.getLogger(__name__)
NO_LABEL = RunLabel()


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What is known of a run without its journal. Times are seconds; None and "" are what is not known.

    `problem` is the sentence of a failed run, or of a folder that cannot be read (its status is then damaged).
    `learnt` says that there is a result, or a checkpoint that stands for it.
    `continues_text` says that it taught a Base model, and no form of question and answer.
    `where` says that another process of this computer, or another computer, trains it: `computer`, heard of last when
    `written`.
    `configuration` is the text of its config.toml; empty where that cannot be read.
    """

    folder: RunFolder
    status: str
    created: float | None = None
    model: str = ""
    method: str = ""
    precision: str = ""
    updates: int | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    retention: float | None = None
    seconds: float | None = None
    problem: str = ""
    learnt: bool = False
    continues_text: bool = False
    where: Literal["", "process", "computer"] = ""
    computer: str = ""
    written: float = 0.0
    configuration: str = ""
    label: RunLabel = NO_LABEL

    @property
    def can_go_on(self) -> bool:
        """Whether it has come to an end from which it can be continued."""
        return self.status in CAN_GO_ON

    @property
    def can_be_exported(self) -> bool:
        """Whether it has come to an end and left something that was learnt."""
        return self.status in ("finished", "stopped") or (self.learnt and self.status in ("failed", "interrupted"))

    @property
    def can_be_asked(self) -> bool:
        """Whether it has learnt something, be it under way or not."""
        return self.can_be_exported or self.learnt


def read_summaries(root: Path, progress: Progress = no_progress) -> list[RunSummary]:
    """Return all runs below a folder, newest first; damaged ones are among them, not hidden."""
    folders = find_runs(root)
    summaries = []
    for done, folder in enumerate(folders):
        progress("reading_runs", done, len(folders))
        summaries.append(read_summary(folder))
    return sorted(summaries, key=_age, reverse=True)


def _age(run: RunSummary) -> tuple[float, str]:
    """When a run was made; of a damaged one, when its state was written."""
    made = run.created if run.created is not None else run.folder.state.stat().st_mtime
    return made, run.folder.name


def read_summary(folder: RunFolder) -> RunSummary:
    """Return what one folder says of itself."""
    try:
        state = folder.read_state()
    except RunFolderError as error:
        return RunSummary(folder=folder, status="damaged", problem=str(error), configuration=_configuration(folder))
    losses, configuration = _table(state, "validation_loss"), _configuration(folder)
    return RunSummary(
        folder=folder,
        status=state["status"],
        created=_number(state, "created"),
        model=str(_table(state, "model").get("name", "")),
        method=str(state.get("method", "")),
        precision=str(state.get("precision", "")),
        updates=None if (updates := _number(state, "updates")) is None else int(updates),
        first_loss=_number(losses, "first"),
        last_loss=_number(losses, "last"),
        retention=_number(_table(state, "retention"), "retention"),
        seconds=_number(state, "seconds"),
        problem=str(state.get("error", "")),
        learnt=folder.has_result,
        where=lives_elsewhere(folder),
        computer=folder.computer,
        written=folder.written,
        continues_text=_table(state, "model").get("kind") == "base" and not _asks(configuration),
        configuration=configuration,
        label=_label(folder),
    )


def _label(folder: RunFolder) -> RunLabel:
    """A damaged label hides no run."""
    try:
        return read_label(folder.path)
    except RunFolderError as error:
        log.warning("%s", error)
        return NO_LABEL


def _asks(configuration: str) -> bool:
    """Return whether a configuration says how a Base model is asked."""
    try:
        data = tomllib.loads(configuration).get("data")
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(data, dict) and bool(data.get("prompt_template"))


def _configuration(folder: RunFolder) -> str:
    try:
        return read_text(folder.config)
    except (OSError, UnicodeDecodeError):
        return ""


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


_TIME = re.compile(r"^\d{8}-\d{6}-")
LOSSES_ROLE = Qt.ItemDataRole.UserRole
STATUSES = {
    "created": gettext_noop("Getting ready"),
    "running": gettext_noop("Running"),
    "paused": gettext_noop("Paused"),
    "interrupted": gettext_noop("Interrupted"),
    "stopped": gettext_noop("Stopped"),
    "finished": gettext_noop("Finished"),
    "failed": gettext_noop("Failed"),
    "damaged": gettext_noop("Damaged"),
}
_COLOURS = {"finished": "good", "failed": "bad", "damaged": "bad", "interrupted": "warning"}


@dataclass(frozen=True, kw_only=True)
class RunColumn(Column):
    """A column of texts, and what it is sorted by."""

    text: Callable[[RunSummary], str]
    key: Callable[[RunSummary], Any]


def method_title(name: str) -> str:
    """Return a method as it is called in the window; an unknown one keeps its name."""
    return tr(METHODS.get(name).title) if name in METHODS.names() else name


def when_text(seconds: float | None) -> str:
    """Return a moment in local time."""
    return numbers.NONE if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def status_text(run: RunSummary) -> str:
    """Return what a run is doing, or how it ended."""
    if run.where:
        return tr("On another computer") if run.where == "computer" else tr("Running elsewhere")
    return tr(STATUSES[run.status])


def short_name(run: RunSummary) -> str:
    """Return the name of a run's folder without the time that it begins with, which has a column of its own."""
    return _TIME.sub("", run.folder.name) or run.folder.name


def name_text(run: RunSummary) -> str:
    """Return the star, the name that a person gave the run, else that of its folder, and its tags."""
    return run.label.words(short_name(run))


def _name_key(run: RunSummary) -> tuple[bool, str]:
    return not run.label.star, (run.label.name or short_name(run)).lower()


def searched_text(run: RunSummary) -> str:
    """Return all words by which a run is found, in small letters."""
    words = (column.text(run) for column in COLUMNS)
    return "\n".join((*words, run.folder.name, run.label.notes)).lower()


def loss_text(run: RunSummary) -> str:
    """Return how the validation loss went, first to last."""
    if run.first_loss is None:
        return numbers.NONE
    if run.last_loss is None:
        return numbers.number(run.first_loss)
    return f"{numbers.number(run.first_loss)} → {numbers.number(run.last_loss)}"


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
    RunColumn(gettext_noop("Status"), text=status_text, key=lambda run: run.status),
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
