"""Pictures of widgets in files: PNG at twice the size on screen, or SVG with lines and letters that stay sharp."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtGui import QImage, QPainter, QRegion
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from studio.errors import ExportError
from studio.i18n import tr
from studio.ui import theme
from studio.ui.plots.timeline_plot import TimelinePlot

RESOLUTION = 2


def save_picture(widget: QWidget, path: Path, title: str) -> None:
    """Write what a widget shows, by the ending of `path`: .svg or .png.

    Raises:
        ExportError: the file cannot be written.
    """
    try:
        # Qt itself fails without a reason.
        path.open("wb").close()
    except OSError as error:
        raise ExportError(cannot_write(path, error)) from error
    if path.suffix.lower() == ".svg":
        _save_svg(widget, path, title)
    elif not _as_image(widget).save(str(path)):
        raise ExportError(tr("{path} could not be written; look for room on the disk.").format(path=path))


def copy_picture(widget: QWidget) -> None:
    """Put what a widget shows on the clipboard."""
    theme.application().clipboard().setImage(_as_image(widget))


def described(widget: QWidget) -> str:
    """Return the words for a picture; one that is made of several has those of its parts."""
    for plot in (widget, *widget.findChildren(TimelinePlot)):
        if isinstance(plot, TimelinePlot):
            plot.describe()
    parts = [part.accessibleDescription() for part in widget.findChildren(QWidget) if not part.isHidden()]
    return widget.accessibleDescription() or "\n".join(part for part in parts if part)


def cannot_write(path: Path, error: OSError) -> str:
    """Return why a file cannot be written, in a sentence."""
    return tr("{path} cannot be written: {reason}. Choose another place.").format(path=path, reason=error.strerror)


def _as_image(widget: QWidget) -> QImage:
    image = QImage(widget.size() * RESOLUTION, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(RESOLUTION)
    painter = QPainter(image)
    _render(widget, painter)
    painter.end()
    return image


def _render(widget: QWidget, painter: QPainter) -> None:
    """Draw a widget without the window's background, on that of a card."""
    painter.fillRect(widget.rect(), theme.palette().surface)
    QWidget.render(widget, painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)


def _save_svg(widget: QWidget, path: Path, title: str) -> None:
    # Of the two versions that Qt writes, only 1.1 keeps to clip rectangles.
    drawing = QSvgGenerator(QSvgGenerator.SvgVersion.Svg11)
    drawing.setFileName(str(path))
    drawing.setSize(QSize(widget.size()))
    drawing.setViewBox(QRect(QPoint(), widget.size()))
    drawing.setTitle(title)
    drawing.setDescription(described(widget))
    painter = QPainter(drawing)
    _render(widget, painter)
    painter.end()
