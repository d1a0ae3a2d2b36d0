"""Changes of the Setup page that take much away at once, each of which can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QUndoCommand

from studio.i18n import tr
from studio.ui.override import override

if TYPE_CHECKING:
    from studio.ui.pages.setup.data_card import DataCard

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
    """Takes a dataset file off the Data card; undone, it stands where it stood, with its options."""

    def __init__(self, card: DataCard, place: int) -> None:
        self._card, self._place, self._values = card, place, card.sources[place].values()
        super().__init__(tr("remove {file}").format(file=Path(self._values["path"]).name))

    @override
    def redo(self) -> None:
        self._card.remove(self._values["path"])

    @override
    def undo(self) -> None:
        self._card.add(self._values, self._place)
