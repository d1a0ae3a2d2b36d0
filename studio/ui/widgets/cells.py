"""Cells of tables: text that wraps without being cut, and an estimate of the memory with a bar of its parts."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.runner.actions import Estimate
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.memory_bar import paint_parts

Index = QModelIndex | QPersistentModelIndex
MEMORY_ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class MemoryCell:
    """What a model returns for `MEMORY_ROLE`; `whole` is how many bytes the full length of the bar stands for."""

    estimate: Estimate
    whole: int


class WrappingDelegate(QStyledItemDelegate):
    """Asks for the height that the text takes; Qt's own forgets the padding of the style sheet when it wraps."""

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        styled = QStyleOptionViewItem(option)
        self.initStyleOption(styled, index)
        hint = super().sizeHint(option, index)
        if not styled.features & QStyleOptionViewItem.ViewItemFeature.WrapText:
            return hint
        room = QRect(0, 0, max(styled.rect.width() - _side(styled), 1), theme.space(200))
        text = styled.fontMetrics.boundingRect(room, Qt.TextFlag.TextWordWrap, styled.text)
        return QSize(hint.width(), max(hint.height(), text.height() + 2 * theme.space(1)))


class MemoryDelegate(QStyledItemDelegate):
    """A line in the bar marks the memory that is there, where the scale reaches so far."""

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        cell = index.data(MEMORY_ROLE)
        if not isinstance(cell, MemoryCell):
            super().paint(painter, option, index)
            return
        styled = QStyleOptionViewItem(option)
        self.initStyleOption(styled, index)
        words, styled.text = styled.text, ""
        styled.widget.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, styled, painter, styled.widget)
        side = _side(styled) // 2
        area = QRectF(styled.rect).adjusted(side, 0, -side, 0)
        line, gap, bar = styled.fontMetrics.height(), theme.space(0.5), theme.space(1)
        top = area.center().y() - (line + gap + bar) / 2
        painter.save()
        painter.setFont(styled.font)
        painter.setPen(index.data(Qt.ItemDataRole.ForegroundRole) or theme.palette().text)
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(area.left(), top, area.width(), line), left, words)
        painter.restore()
        _paint_bar(painter, QRectF(area.left(), top + line + gap, area.width(), bar), cell)

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(max(hint.width(), theme.characters(25)), option.fontMetrics.height() + theme.space(3))


def _side(option: QStyleOptionViewItem) -> int:
    """What stands left and right of a text: the padding of the style sheet, the style's own margin, and a sign."""
    margin = option.widget.style().pixelMetric(QStyle.PixelMetric.PM_FocusFrameHMargin, option, option.widget) + 1
    sign = option.decorationSize.width() + 2 * margin if not option.icon.isNull() else 0
    return 2 * (theme.space(1) + margin) + sign


def _paint_bar(painter: QPainter, area: QRectF, cell: MemoryCell) -> None:
    paint_parts(painter, area, cell.estimate.bytes, cell.whole)
    if cell.estimate.available_bytes < cell.whole:
        at = area.left() + area.width() * cell.estimate.available_bytes / cell.whole
        painter.save()
        painter.setPen(QPen(theme.palette().text, 2))
        painter.drawLine(round(at), round(area.top()) - 2, round(at), round(area.bottom()) + 2)
        painter.restore()
