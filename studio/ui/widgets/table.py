"""Tables of which a row can be selected, and those that compare a few things: wrapped, as high as their words."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QItemSelectionModel, QModelIndex, QTimer
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.cells import WrappingDelegate

LEAST = 20  # characters, of the column that takes the room that the others leave


class ComparisonTable(QTableView):
    """Where its columns do not fit, it scrolls sideways: the stretched column never becomes too narrow to be read.

    Without a column to stretch, all are equally wide.
    """

    def __init__(self, model: QAbstractItemModel, name: str, stretched: int | None = None) -> None:
        super().__init__()
        self._stretched = stretched
        self.setModel(model)
        self.setAccessibleName(name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setWordWrap(True)
        self.setItemDelegate(WrappingDelegate(self))
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(theme.space(5.5))  # two lines
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        if stretched is None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.setMinimumSectionSize(theme.characters(LEAST // 2))
        else:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setSectionResizeMode(stretched, QHeaderView.ResizeMode.Stretch)
        header.sectionResized.connect(self._fit)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # The first rows were measured while the columns were still narrow; Qt spreads those only once all are laid out.
        QTimer.singleShot(0, self, self._fit)

    def _fit(self, *_: int) -> None:
        if self._stretched is not None:
            self._stretch(self._stretched)
        self.resizeRowsToContents()

    def _stretch(self, column: int) -> None:
        header, least = self.horizontalHeader(), theme.characters(LEAST)
        others = header.length() - header.sectionSize(column)
        fits = self.viewport().width() - others >= least
        wanted = QHeaderView.ResizeMode.Stretch if fits else QHeaderView.ResizeMode.Fixed
        if header.sectionResizeMode(column) != wanted:
            header.setSectionResizeMode(column, wanted)
        if not fits:
            header.resizeSection(column, least)


def selected_row(table: QTableView) -> QModelIndex | None:
    """Return the first cell of the selected row."""
    rows = table.selectionModel().selectedRows()
    return rows[0] if rows else None


def select_row(table: QTableView, index: QModelIndex) -> None:
    """Select the row of a cell, and no other."""
    flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
    table.selectionModel().setCurrentIndex(index, flags)
