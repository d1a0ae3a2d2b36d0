"""A combo box that a scrolling page cannot change by accident."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyledItemDelegate, QStyleOptionComboBox, QWidget

from studio.text.visible import in_line
from studio.ui.override import override


class ComboBox(QComboBox):
    """Chooses one of some values, each shown by a label. `changed` means changed by the user or by `set_value`."""

    changed = Signal()

    def __init__(self, choices: Iterable[tuple[str, str]] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offered: list[tuple[str, str]] = []
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setItemDelegate(QStyledItemDelegate(self))  # a combo box's own knows nothing of the style sheet
        # The window of the list has a border (see the style sheet), which the list would cover at its sides.
        self.view().window().setContentsMargins(1, 1, 1, 1)
        self.set_choices(choices)
        self.currentIndexChanged.connect(self.changed)

    def set_choices(self, choices: Iterable[tuple[str, str]]) -> None:
        """Offer other values; the one that is chosen stays chosen if it is among them."""
        offered = [(value, in_line(label)) for value, label in choices]
        if offered == self._offered:
            return
        before, self._offered = self.value(), offered
        self.blockSignals(True)
        self.clear()
        for value, label in offered:
            self.addItem(label, value)
        self.setCurrentIndex(max(0, self.findData(before)))
        self.blockSignals(False)

    def value(self) -> str:
        return str(self.currentData() or "")

    def set_value(self, value: str) -> None:
        """Choose a value; one that is not offered leaves the choice as it is."""
        index = self.findData(value)
        if index >= 0:
            self.setCurrentIndex(index)

    def describe(self, name: str, description: str = "") -> None:
        """Give the box its name for screen readers."""
        self.setAccessibleName(name)
        self.setAccessibleDescription(description)

    @override
    def initStyleOption(self, option: QStyleOptionComboBox) -> None:
        """Qt cuts a text off that is too long; an ellipsis says that there is more of it."""
        super().initStyleOption(option)
        part = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, self).width()
        option.currentText = option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideRight, room)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
