"""Deleting a run: asked first, to the trash where there is one, and for good only when asked again."""

from __future__ import annotations

from PySide6.QtCore import QFile
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.errors import RunFolderError
from studio.i18n import tr
from studio.runs import RunFolder
from studio.runs.files import remove as remove_all
from studio.ui import theme
from studio.ui.dialogs.guide import offer_guide
from studio.ui.widgets.verdict import sign_pixmap


def ask(parent: QWidget, heading: str, explanation: str, yes: str) -> bool:
    """Ask before something is lost; Cancel is the default."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, heading, heading, QMessageBox.StandardButton.Cancel, parent)
    box.setIconPixmap(sign_pixmap("warning", theme.space(4), parent.devicePixelRatioF()))
    box.setInformativeText(explanation)
    offer_guide(box, "runs")
    accept = box.addButton(yes, QMessageBox.ButtonRole.DestructiveRole)
    accept.setProperty("kind", "danger")
    accept.style().polish(accept)
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    return box.clickedButton() is accept


def ask_trash(parent: QWidget, name: str) -> bool:
    """Ask whether a run may go to the trash."""
    return ask(
        parent,
        tr("Delete the run {name}?").format(name=name),
        tr("Its configuration, plots, trained part and exports are moved to the trash."),
        tr("Move to trash"),
    )


def ask_for_good(parent: QWidget, name: str) -> bool:
    """Ask whether a run that does not fit the trash may be removed."""
    return ask(
        parent,
        tr("The run {name} cannot be moved to the trash.").format(name=name),
        tr("It can be deleted for good instead. This cannot be undone."),
        tr("Delete for good"),
    )


def trash(folder: RunFolder) -> bool:
    """Move a run folder to the trash; return whether that worked. Needs no window."""
    return bool(QFile.moveToTrash(str(folder.path)))


def remove(folder: RunFolder) -> None:
    """Delete a run folder for good. Raises `RunFolderError` when something of it stays."""
    try:
        remove_all(folder.path)
    except OSError as error:
        raise RunFolderError(
            tr("{path} could not be deleted: {reason}; close what uses it and try again.").format(
                path=error.filename or folder.path, reason=error.strerror
            )
        ) from error
