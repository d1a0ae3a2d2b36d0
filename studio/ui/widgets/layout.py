"""Rows, columns and scrolled pages of widgets. Spacing and margins are in units of `theme.space`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QLayout, QScrollArea, QVBoxLayout, QWidget

from studio.ui import theme

STRETCH = 1
Part: TypeAlias = QWidget | QLayout | tuple[QWidget | QLayout, int] | tuple[QWidget, int, Qt.AlignmentFlag] | int
Margins: TypeAlias = float | tuple[float, float, float, float]
Box = TypeVar("Box", bound=QBoxLayout)


def hbox(
    *parts: Part, spacing: float | None = None, margins: Margins = 0, parent: QWidget | None = None
) -> QHBoxLayout:
    """Return a layout with the parts side by side.

    Args:
        parts: a widget or a layout, alone or in a tuple with its stretch and its alignment; a number is empty space
            with this stretch, most often `STRETCH`.
        spacing: the space between two parts; the default of Qt when None.
        margins: the space around the parts: left, top, right, bottom, or one number for all four.
        parent: the widget to lay out; a layout without one is put into another layout.
    """
    return _fill(QHBoxLayout() if parent is None else QHBoxLayout(parent), parts, spacing, margins)


def vbox(
    *parts: Part, spacing: float | None = None, margins: Margins = 0, parent: QWidget | None = None
) -> QVBoxLayout:
    """Return a layout with the parts below each other; see `hbox`."""
    return _fill(QVBoxLayout() if parent is None else QVBoxLayout(parent), parts, spacing, margins)


def set_margins(layout: QLayout, margins: Margins) -> None:
    """Set the space around a layout, as `hbox` does."""
    sides = margins if isinstance(margins, tuple) else (margins,) * 4
    layout.setContentsMargins(*map(_pixels, sides))


def scrolled(inside: QWidget, name: str) -> QScrollArea:
    """Return a frameless area that scrolls a widget, which has the colour of a page and the width of the area.

    Tab stops at it, so that the keyboard can scroll what has no control in it; screen readers then say its `name`.
    """
    inside.setProperty("kind", "page")
    area = QScrollArea(widgetResizable=True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidget(inside)
    area.setAccessibleName(name)
    return area


def _fill(box: Box, parts: tuple[Part, ...], spacing: float | None, margins: Margins) -> Box:
    set_margins(box, margins)
    if spacing is not None:
        box.setSpacing(_pixels(spacing))
    for part in parts:
        if isinstance(part, int):
            box.addStretch(part)
            continue
        item, *places = part if isinstance(part, tuple) else (part,)
        add: Callable[..., None] = box.addLayout if isinstance(item, QLayout) else box.addWidget
        add(item, *places)
    return box


def _pixels(units: float) -> int:
    return theme.space(units) if units else 0
