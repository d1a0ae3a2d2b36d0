"""Our icons: SVG drawings of one stroke, coloured from the palette when they are loaded."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt
from PySide6.QtGui import QAction, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton

from studio.paths import resource
from studio.ui import theme


@lru_cache(maxsize=512)
def pixmap(name: str, colour: str, size: int, ratio: float) -> QPixmap:
    """Return `resources/icons/NAME.svg` in a colour (#rrggbb), `size` device-independent pixels wide and high."""
    drawing = resource("icons", f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    picture = QPixmap(QSize(size, size) * ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(drawing.encode())).render(painter, QRectF(picture.rect()))
    painter.end()
    picture.setDevicePixelRatio(ratio)
    return picture


def icon(name: str, colour: str = "text", selected: str = "accent") -> QIcon:
    """Return an icon in palette colours: `colour` as a rule, `selected` when it is on."""
    colours = theme.palette().names()
    size, ratio = theme.space(2.5), theme.application().devicePixelRatio()
    result = QIcon()
    for mode, wanted in ((QIcon.Mode.Normal, colour), (QIcon.Mode.Active, colour), (QIcon.Mode.Disabled, "control")):
        result.addPixmap(pixmap(name, colours[wanted], size, ratio), mode, QIcon.State.Off)
        on = "control" if mode == QIcon.Mode.Disabled else selected
        result.addPixmap(pixmap(name, colours[on], size, ratio), mode, QIcon.State.On)
    return result


def app_icon() -> QIcon:
    """Return the icon of the window and of the task bar."""
    return QIcon(str(resource("icons", "app.svg")))


class _Binding(QObject):
    """Keeps one button's or action's icon in the colours of the theme, for as long as the target lives."""

    def __init__(self, target: QAbstractButton | QAction, name: str, colour: str, selected: str) -> None:
        super().__init__(target)
        self._target, self._name, self._colour, self._selected = target, name, colour, selected
        theme.notifier().changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        self._target.setIcon(icon(self._name, self._colour, self._selected))


def bind(target: QAbstractButton | QAction, name: str, colour: str = "text", selected: str = "accent") -> None:
    """Give a button or an action an icon that follows the theme; calling it again replaces the icon."""
    for before in target.findChildren(_Binding):
        before.setParent(None)
        before.deleteLater()
    _Binding(target, name, colour, selected)
