"""Changes of the Setup page that take much away at once, each of which can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtGui import QUndoCommand

from studio.i18n import tr
from studio.ui.override import override

Tables = Mapping[str, Any]


class ReplaceTables(QUndoCommand):
    """Shows another configuration in place of the present one; `words` name the change in the menu."""

    def __init__(self, show: Callable[[Tables], None], before: Tables, after: Tables, words: str) -> None:
        super().__init__(words)
        self._show, self._before, self._after = show, before, after

    @override
    def redo(self) -> None:
        self._show(self._after)

    @override
    def undo(self) -> None:
        self._show(self._before)


class RemoveSource(QUndoCommand):
    """Takes a dataset file off the Data card; undone, it stands where it stood, with its options.

    Args:
        remove: takes the file of a path out.
        add: adds a file, given by its table, at a place.
        values: the table of the file.
        place: where it stands.
    """

    def __init__(
        self, remove: Callable[[str], None], add: Callable[[Tables, int], None], values: Tables, place: int
    ) -> None:
        super().__init__(tr("remove {file}").format(file=Path(values["path"]).name))
        self._remove, self._add, self._values, self._place = remove, add, values, place

    @override
    def redo(self) -> None:
        self._remove(self._values["path"])

    @override
    def undo(self) -> None:
        self._add(self._values, self._place)
