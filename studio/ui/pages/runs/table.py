"""The table of the runs: never wider than the window, with the course of each loss as a small curve."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QPointF, QRectF, Qt
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
from studio.ui.models.runs import COLUMNS, CURVE, LOSSES_ROLE, NAME, SIZE, RunsFilter
from studio.ui.override import override

# What is left out first where there is no room for all columns; the figures below tell it too.
_LEFT_OUT = ("Updates", "Model", "Precision", "Retention", "Duration", "Size", "Method", "Validation loss", "Started")


class RunsTable(QTableView):
    """Leaves columns out, the least telling first, where the window is too narrow for all of them."""

    def __init__(self, rows: RunsFilter) -> None:
        super().__init__()
        self._wide: list[int] = []  # of each column, what its texts take
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
        # Widths by the contents are measured once for each list: Qt would measure them at every change of a cell.
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setResizeContentsPrecision(50)
        rows.modelReset.connect(self._measure)
        self._measure()

    def rows_in_view(self) -> range:
        """Return the rows that are seen, with as many above and below them, for those who scroll."""
        count, tall = self.model().rowCount(), self.viewport().height()
        first, last = self.rowAt(0), self.rowAt(tall - 1)
        if first < 0:
            return range(0)
        last = last if last >= 0 else count - 1
        more = last - first + 1
        return range(max(0, first - more), min(count, last + more + 1))

    def _measure(self) -> None:
        """Find out how wide the contents of the columns are, and show them."""
        header = self.horizontalHeader()
        header.ensurePolished()
        for index in range(len(COLUMNS)):
            self.showColumn(index)  # a hidden one has no width
        self._wide = [max(header.sectionSizeHint(i), self.sizeHintForColumn(i)) for i in range(len(COLUMNS))]
        self._wide[NAME] = theme.characters(26)
        self._wide[SIZE] = max(self._wide[SIZE], theme.characters(12))  # sizes come later than the rest
        self._fit_columns()

    def _fit_columns(self) -> None:
        """Show as many columns as there is room for beside the name."""
        out: set[str] = set()
        for title in _LEFT_OUT:
            shown = sum(width for width, column in zip(self._wide, COLUMNS, strict=True) if column.title not in out)
            if shown <= self.viewport().width():
                break
            out.add(title)
        for index, column in enumerate(COLUMNS):
            self.setColumnHidden(index, column.title in out)
            if index != NAME:
                self.setColumnWidth(index, self._wide[index])

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_columns()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and self._wide:
            self._measure()


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
