"""Tables of what a run says at its evaluations: answers as they change, and the rows that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from PySide6.QtCore import Qt

from studio.events import PromptsAnswered, RowsRanked
from studio.i18n import gettext_noop, tr
from studio.text import numbers
from studio.text.visible import in_line
from studio.ui import theme
from studio.ui.models.table import Column, Index, TableModel
from studio.ui.override import override

# What an answer is worth, before the answer, so that colour is not all that tells it.
_SIGNS = {True: "✓ ", False: "✗ ", None: ""}
ANSWERS = (
    Column(gettext_noop("Prompt")),
    Column(gettext_noop("Base"), gettext_noop("The answer of the base, before the first step")),
    Column(gettext_noop("Now"), gettext_noop("The newest answer, and after how many updates it was given")),
)
ROWS = (
    Column(gettext_noop("Row")),
    Column(gettext_noop("Loss"), gettext_noop("Mean loss of this row, nats per supervised token"), right=True),
    Column(gettext_noop("Tokens"), gettext_noop("Supervised tokens"), right=True),
)


@dataclass(frozen=True)
class _Cell:
    text: str
    right: bool | None = None


class AnswersModel(TableModel):
    """A prompt a row, the user's own first."""

    def __init__(self) -> None:
        super().__init__(ANSWERS)
        self._rows: list[tuple[_Cell, ...]] = []

    def show(self, answered: Sequence[PromptsAnswered]) -> None:
        """Show the first and the newest answer to each prompt."""
        first: dict[str, tuple[int, dict[str, Any]]] = {}
        newest: dict[str, tuple[int, dict[str, Any]]] = {}
        for event in answered:
            for answer in event.answers:
                first.setdefault(answer["prompt"], (event.update, answer))
                newest[answer["prompt"]] = (event.update, answer)
        ordered = sorted(newest, key=lambda prompt: not newest[prompt][1]["own"])
        rows: list[tuple[_Cell, ...]] = []
        for prompt in ordered:
            update, now = newest[prompt]
            later = update > first[prompt][0]
            latest = tr("{answer} (update {update})").format(answer=_told(now), update=f"{update:,}")
            cells = (_Cell(prompt), _Cell(_told(first[prompt][1]), first[prompt][1]["right"]))
            rows.append((*cells, _Cell(latest, now["right"]) if later else _Cell(numbers.NONE)))
        if rows != self._rows:
            self.beginResetModel()
            self._rows = rows
            self.endResetModel()

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        cell = self._rows[index.row()][index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.ToolTipRole:
                return cell.text
            case Qt.ItemDataRole.ForegroundRole if cell.right is not None:
                return theme.palette().good if cell.right else theme.palette().bad
        return None


class RowsModel(TableModel):
    """The held-out rows with the highest loss, then those with the lowest, the lowest last."""

    def __init__(self) -> None:
        super().__init__(ROWS)
        self.rows: list[dict[str, Any]] = []

    def show(self, ranked: RowsRanked | None) -> None:
        """Show the rows of a run, or none."""
        rows = [*ranked.highest, *reversed(ranked.lowest)] if ranked else []
        if rows != self.rows:
            self.beginResetModel()
            self.rows = rows
            self.endResetModel()

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.rows[index.row()]
        place = in_line(f"{PurePath(row['source']).name}:{row['number']}")
        match role:
            case Qt.ItemDataRole.DisplayRole:
                # What is not finite stands in the journal as a word.
                loss = numbers.number(float(row["loss"]))
                return (place, loss, f"{row['tokens']:,}")[index.column()]
            case Qt.ItemDataRole.ToolTipRole if index.column() == 0:
                return f"{row['source']}:{row['number']}"
            case Qt.ItemDataRole.TextAlignmentRole:
                return ROWS[index.column()].alignment
        return None


def _told(answer: dict[str, Any]) -> str:
    """The answer in one line, with a sign for right and wrong."""
    return _SIGNS[answer["right"]] + (" ".join(answer["answer"].split()) or tr("(nothing)"))
