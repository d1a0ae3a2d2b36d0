"""The table of the runs: never wider than the window, with the course of each loss as a small curve."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from studio.i18n import tr
from studio.ui import theme
from studio.ui.models.runs import COLUMNS, LOSSES_ROLE, RunsFilter
from studio.ui.override import override

# What is left out first where there is no room for all columns; the figures below tell it too.
_LEFT_OUT = ("Updates", "Model", "Precision", "Retention", "Duration", "Size", "Method", "Validation loss", "Started")
NAME, CURVE = (next(i for i, column in enumerate(COLUMNS) if column.title == title) for title in ("Name", "Loss"))


class RunsTable(QTableView):
    """Leaves columns out, the least telling first, where the window is too narrow for all of them."""

    def __init__(self, rows: RunsFilter) -> None:
        super().__init__()
        self.setModel(rows)
        self.setAccessibleName(tr("Past runs"))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setItemDelegateForColumn(CURVE, CurveDelegate(self))
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(theme.space(4))
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setResizeContentsPrecision(50)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)

    def fit_columns(self) -> None:
        """Show as many columns as there is room for beside the name."""
        header = self.horizontalHeader()
        wide = [max(header.sectionSizeHint(i), self.sizeHintForColumn(i)) for i in range(len(COLUMNS))]
        wide[NAME] = theme.characters(26)
        out: set[str] = set()
        for title in _LEFT_OUT:
            shown = sum(width for width, column in zip(wide, COLUMNS, strict=True) if column.title not in out)
            if shown <= self.viewport().width():
                break
            out.add(title)
        for index, column in enumerate(COLUMNS):
            self.setColumnHidden(index, column.title in out)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_columns()


class CurveDelegate(QStyledItemDelegate):
    """Draws numbers as a line from the lowest at the foot to the highest at the top."""

    @override
    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        styled = QStyleOptionViewItem(option)
        self.initStyleOption(styled, index)
        styled.text = ""
        styled.widget.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, styled, painter, styled.widget)
        losses = index.data(LOSSES_ROLE)
        if not losses or len(losses) < 2:
            return
        area = QRectF(styled.rect).adjusted(theme.space(1), theme.space(0.75), -theme.space(1), -theme.space(0.75))
        low, high = min(losses), max(losses)
        across, tall = area.width() / (len(losses) - 1), max(high - low, 1e-12)
        points = [
            QPointF(area.left() + place * across, area.bottom() - (loss - low) / tall * area.height())
            for place, loss in enumerate(losses)
        ]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.palette().series_1, 1.25))
        painter.drawPolyline(QPolygonF(points))
        painter.restore()
