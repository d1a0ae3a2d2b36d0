"""Names to tick, each with what is worth knowing of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from PySide6.QtCore import QAbstractItemModel, QEvent, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QListView,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override

Index = QModelIndex | QPersistentModelIndex
CHECK, DETAIL = Qt.ItemDataRole.CheckStateRole, Qt.ItemDataRole.UserRole
MOST_ROWS = 8
# Of two clicks in quick succession Qt tells the second one by the press alone.
_CLICKS = (QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick)


class CheckList(QListWidget):
    """In as many columns as there is room for, and as high as that needs.

    Tab stops at it once: the arrow keys move, Space ticks, letters search. `changed` means ticked by the user.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)  # the one under the mouse is lit
        self._above = theme.space(0.5)
        self.setViewportMargins(0, self._above, 0, self._above)
        self._ticks = _TickDelegate(self)
        self.setItemDelegate(self._ticks)
        self.itemChanged.connect(lambda _: self.changed.emit())

    def set_items(self, items: Iterable[tuple[str, str]], checked: Collection[str]) -> None:
        """Offer other names with their details; those in `checked` are ticked."""
        self.blockSignals(True)
        self.clear()
        for name, detail in items:
            item = QListWidgetItem(name, self)
            item.setData(DETAIL, detail)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{name}, {detail}" if detail else name)
            item.setToolTip(tr("{name}: {detail}").format(name=name, detail=detail) if detail else name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name in checked else Qt.CheckState.Unchecked)
        self.blockSignals(False)
        self._fit()

    def rows(self) -> list[QListWidgetItem]:
        """Return what is offered, in order."""
        return [self.item(row) for row in range(self.count())]

    def checked(self) -> list[str]:
        """Return the names that are ticked, in order."""
        return [item.text() for item in self.rows() if item.checkState() == Qt.CheckState.Checked]

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Spread the names over the width, and take the height of their rows."""
        self.ensurePolished()
        cell = self._ticks.measure(self.rows())
        width = self.viewport().width() - 1  # Qt begins a new row where one is exactly full
        columns = max(1, min(self.count(), width // cell.width()))
        rows = -(-self.count() // columns)
        self.setGridSize(QSize(width // columns, cell.height()))
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded if rows > MOST_ROWS else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(policy)
        self.setFixedHeight(min(rows, MOST_ROWS) * cell.height() + 2 * (self.frameWidth() + self._above))


class _TickDelegate(QStyledItemDelegate):
    """A box, a name and its detail, the details below each other; a click anywhere on them ticks."""

    def __init__(self, view: CheckList) -> None:
        super().__init__(view)
        self._view = view
        self._names = 0

    def measure(self, items: Iterable[QListWidgetItem]) -> QSize:
        """Return the room that one of these needs."""
        metrics = self._view.fontMetrics()
        texts = [(item.text(), item.data(DETAIL)) for item in items]
        names = max((metrics.horizontalAdvance(name) for name, _ in texts), default=0)
        details = max((metrics.horizontalAdvance(detail) for _, detail in texts), default=0)
        self._names = min(names, theme.characters(32)) + 1
        return QSize(_name_at() + self._names + theme.space(1.5) + details + theme.space(2), theme.space(3.5))

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return self._view.gridSize()

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        self._paint_ground(painter, option)
        self._paint_box(painter, option, index)
        colours, enabled = theme.palette(), bool(option.state & QStyle.StateFlag.State_Enabled)
        name = option.rect.adjusted(_name_at(), 0, 0, 0)
        name.setWidth(self._names)
        detail = option.rect.adjusted(_name_at() + self._names + theme.space(1.5), 0, -theme.space(1), 0)
        for area, text, colour in ((name, index.data(), colours.text), (detail, index.data(DETAIL), colours.muted)):
            painter.setPen(colour if enabled else colours.control)
            shown = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideMiddle, area.width())
            painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
        painter.restore()

    @override
    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        if not isinstance(event, QMouseEvent):
            return super().editorEvent(event, model, option, index)  # Space
        if event.type() in _CLICKS and event.button() == Qt.MouseButton.LeftButton:
            model.setData(index, Qt.CheckState.Unchecked if _is_ticked(index) else Qt.CheckState.Checked, CHECK)
        return True

    def _paint_ground(self, painter: QPainter, option: QStyleOptionViewItem) -> None:
        focused = bool(option.state & QStyle.StateFlag.State_HasFocus)
        if focused or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.palette().accent_soft if focused else theme.palette().raised)
            painter.drawRoundedRect(option.rect.adjusted(2, 2, -2, -2), theme.space(0.5), theme.space(0.5))

    def _paint_box(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """The box of the style sheet, as a check box has it."""
        box, size = QStyleOptionViewItem(option), theme.space(2)
        box.rect = QRect(option.rect.left() + theme.space(1), option.rect.center().y() - size // 2, size, size)
        box.state |= QStyle.StateFlag.State_On if _is_ticked(index) else QStyle.StateFlag.State_Off
        self._view.style().drawPrimitive(
            QStyle.PrimitiveElement.PE_IndicatorItemViewItemCheck, box, painter, self._view
        )


def _is_ticked(index: Index) -> bool:
    """The model holds a number, or the state itself once it was set."""
    return Qt.CheckState(index.data(CHECK)) == Qt.CheckState.Checked


def _name_at() -> int:
    """Where the name begins: behind the box."""
    return theme.space(1) + theme.space(2) + theme.space(1)
