"""Show a folder in the file manager of the desktop."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from studio.i18n import tr
from studio.ui import theme
from studio.ui.bridge import AppContext


def show_folder(context: AppContext, path: Path) -> None:
    """Open a folder; where no program does that, say so and put its path on the clipboard."""
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        theme.application().clipboard().setText(str(path))
        words = tr("This desktop has no program that shows folders. The path is on the clipboard: {path}")
        context.message.emit(words.format(path=path))
