"""A row that goes on in a further line where the window is too narrow for it, or the font too large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget, QWidgetItem

from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.layout import Margins, set_margins

Inside: TypeAlias = QWidget | QLayout
FlowPart: TypeAlias = Inside | tuple[Inside, int] | tuple[Inside, int, int]


@dataclass(frozen=True)
class _Part:
    item: QLayoutItem
    stretch: int
    least: int

    def needs(self) -> int:
        """Return the width without which the part goes into the next line."""
        return max(self.item.minimumSize().width(), self.least) if self.stretch else self.item.sizeHint().width()

    def least_width(self) -> int:
        """Return the width below which the part is cut."""
        return self.item.minimumSize().width() if self.item.hasHeightForWidth() else self.needs()

    def height(self, width: int) -> int:
        """Return the height at this width."""
        return self.item.heightForWidth(width) if self.item.hasHeightForWidth() else self.item.sizeHint().height()


class Flow(QLayout):
    """Puts parts beside each other, in as many lines as they need.

    Parts that stretch share the room that is left in their line. A line in which none does stands at the right, where
    buttons stand.

    Args:
        spacing: between two parts and between two lines, in pixels.
        even: whether several lines have columns of the same width.
    """

    def __init__(self, parent: QWidget | None = None, *, spacing: int = 0, even: bool = False) -> None:
        super().__init__() if parent is None else super().__init__(parent)
        self._parts: list[_Part] = []
        self._heights: dict[int, int] = {}  # by the width; Qt asks a hundred times for each change of a label
        self._sizes: dict[str, QSize] = {}
        self._even = even
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(spacing)

    def add(self, inside: Inside, stretch: int = 0, least: int = 0) -> None:
        """Add a part; one that stretches goes into the next line when it would have less than `least` pixels."""
        if isinstance(inside, QLayout):
            self.addChildLayout(inside)
            item: QLayoutItem = inside
        else:
            self.addChildWidget(inside)
            item = QWidgetItem(inside)
        self._parts.append(_Part(item, stretch, least))
        self.invalidate()

    @override
    def addItem(self, item: QLayoutItem) -> None:
        self._parts.append(_Part(item, 0, 0))

    @override
    def count(self) -> int:
        return len(self._parts)

    @override
    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._parts[index].item if 0 <= index < len(self._parts) else None

    @override
    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._parts.pop(index).item if 0 <= index < len(self._parts) else None

    @override
    def invalidate(self) -> None:
        super().invalidate()
        self._heights.clear()
        self._sizes.clear()

    @override
    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation.Horizontal

    @override
    def hasHeightForWidth(self) -> bool:
        return True

    @override
    def heightForWidth(self, width: int) -> int:
        if width not in self._heights:
            self._heights[width] = self._arrange(QRect(0, 0, width, 0), move=False)
        return self._heights[width]

    @override
    def sizeHint(self) -> QSize:
        if "hint" not in self._sizes:
            self._sizes["hint"] = self._hint()
        return self._sizes["hint"]

    @override
    def minimumSize(self) -> QSize:
        if "minimum" not in self._sizes:
            self._sizes["minimum"] = self._minimum()
        return self._sizes["minimum"]

    @override
    def setGeometry(self, area: QRect) -> None:
        super().setGeometry(area)
        self._arrange(area, move=True)

    def _hint(self) -> QSize:
        shown = self._shown()
        width = sum(part.item.sizeHint().width() for part in shown) + self.spacing() * max(0, len(shown) - 1)
        return self._with_margins(width, max((part.item.sizeHint().height() for part in shown), default=0))

    def _minimum(self) -> QSize:
        shown = self._shown()
        width = max((part.least_width() for part in shown), default=0)
        return self._with_margins(width, max((part.item.minimumSize().height() for part in shown), default=0))

    def _shown(self) -> list[_Part]:
        return [part for part in self._parts if not part.item.isEmpty()]

    def _with_margins(self, width: int, height: int) -> QSize:
        margins = self.contentsMargins()
        return QSize(width + margins.left() + margins.right(), height + margins.top() + margins.bottom())

    def _arrange(self, area: QRect, *, move: bool) -> int:
        """Give every part its place in an area, or only compute it; return the height that is needed."""
        inside = area.marginsRemoved(self.contentsMargins())
        top = inside.top()
        lines = self._lines(inside.width())
        for line, widths in lines:
            heights = [part.height(width) for part, width in zip(line, widths, strict=True)]
            tallest = max(heights)
            left = inside.left()
            if not self._even and not any(part.stretch for part in line):
                left += max(0, inside.width() - sum(widths) - self.spacing() * (len(line) - 1))
            for part, width, height in zip(line, widths, heights, strict=True):
                if move:
                    part.item.setGeometry(QRect(left, top + (tallest - height) // 2, width, height))
                left += width + self.spacing()
            top += tallest + self.spacing()
        used = top - self.spacing() - inside.top() if lines else 0
        return used + area.height() - inside.height()

    def _lines(self, room: int) -> list[tuple[list[_Part], list[int]]]:
        """Return the parts of each line with their widths."""
        shown = self._shown()
        lines = self._broken(shown, room)
        if not self._even or len(lines) < 2:
            return [(line, self._shared(line, room)) for line in lines]
        widest = max(part.needs() for part in shown)
        most = max(1, (room + self.spacing()) // (widest + self.spacing()))
        columns = math.ceil(len(shown) / max(len(lines), math.ceil(len(shown) / most)))
        width = (room - self.spacing() * (columns - 1)) // columns
        return [
            (line, [width] * len(line))
            for line in (shown[first : first + columns] for first in range(0, len(shown), columns))
        ]

    def _broken(self, shown: Sequence[_Part], room: int) -> list[list[_Part]]:
        lines: list[list[_Part]] = []
        left = -1
        for part in shown:
            needed = min(part.needs(), room)
            if needed > left:
                lines.append([])
                left = room
            lines[-1].append(part)
            left -= needed + self.spacing()
        return lines

    def _shared(self, line: Sequence[_Part], room: int) -> list[int]:
        """Return the widths in a line: what its parts need, and a share of the rest for those that stretch."""
        needed = [min(part.needs(), room) for part in line]
        rest = max(0, room - sum(needed) - self.spacing() * (len(line) - 1))
        stretches = sum(part.stretch for part in line)
        return [
            width + (rest * part.stretch // stretches if stretches else 0)
            for part, width in zip(line, needed, strict=True)
        ]


def flow(
    *parts: FlowPart,
    spacing: float = 1,
    margins: Margins = 0,
    even: bool = False,
    parent: QWidget | None = None,
) -> Flow:
    """Return a row of parts that wraps; spacing and margins as in `hbox`.

    Args:
        parts: a widget or a layout, alone or in a tuple with its stretch, and with the pixels it needs at least.
        spacing: the space between two parts and between two lines.
        margins: the space around the parts.
        even: whether several lines have columns of the same width.
        parent: the widget to lay out; a layout without one is put into another layout.
    """
    whole = Flow(parent, spacing=theme.space(spacing), even=even)
    set_margins(whole, margins)
    for part in parts:
        whole.add(*part) if isinstance(part, tuple) else whole.add(part)
    return whole
