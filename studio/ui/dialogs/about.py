"""What this program is: its versions for a report, and the licences of the programs that it is built on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialog, QListWidget, QPlainTextEdit, QStackedWidget, QWidget

from studio import __version__
from studio.engine.control import Progress
from studio.errors import StudioError
from studio.i18n import tr
from studio.licences import Component, components, licence_text, versions
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.job import Job
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import ElidedLabel, label

Found = tuple[str, list[tuple[Component, str]]]


class About(QDialog):
    """Shows versions and licences, each as text that can be copied. They are read in the background."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("About Finetune Studio"))
        offer_guide(self, "setup")
        self._programs: list[tuple[Component, str]] = []
        self.choice = Segmented([("versions", tr("Versions")), ("licences", tr("Licences"))])
        self.versions, self.licence = _text(tr("Versions")), _text(tr("Text of the licence"))
        self.programs = QListWidget()
        self.programs.setAccessibleName(tr("Programs of others"))
        self.programs.setFixedWidth(theme.characters(34))
        self.programs.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.name = ElidedLabel("", "caption")
        self.pages = QStackedWidget()
        self.copy = push_button(tr("Copy"), "plain", "copy", tr("Put the text that is shown on the clipboard"))
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        self.copy.setAutoDefault(False)
        self.copy.clicked.connect(lambda: theme.application().clipboard().setText(self.shown.toPlainText()))
        self.leave.clicked.connect(self.accept)
        self.choice.changed.connect(lambda: self.pages.setCurrentIndex(int(self.choice.value() == "licences")))
        self.programs.currentRowChanged.connect(self._show_licence)
        self._lay_out()
        self._reading = Job(self, context, tr("Reading versions and licences"))
        self._reading.finished.connect(self._show_found)
        self._reading.failed.connect(self.versions.setPlainText)
        self._reading.start(_read)

    @property
    def shown(self) -> QPlainTextEdit:
        """The text that is in sight."""
        return self.versions if self.choice.value() == "versions" else self.licence

    def _show_found(self, found: Found) -> None:
        words, programs = found
        self.versions.setPlainText(words)
        self._programs = programs
        self.programs.addItems([f"{one.name}  {one.version}" for one, _ in programs])
        self.programs.setCurrentRow(0)

    def _show_licence(self, row: int) -> None:
        one, text = self._programs[row]
        self.name.set_text(f"{one.licence}   {one.page}")
        self.licence.setPlainText(text or tr("No text lies beside this program; its licence is named above."))

    def _lay_out(self) -> None:
        what = tr(
            "Fine-tune a language model on your own workstation, and see what happens. Nothing leaves this computer."
        )
        law = tr(
            "This program is under the Apache License 2.0. Those below are installed with it, unchanged. Qt and "
            "PySide6 are used under the LGPL 3: you may replace their libraries by your own builds."
        )
        licences = QWidget()
        right = vbox(self.name, (self.licence, 1), spacing=0.5)
        vbox(
            label(law, "muted", wrap=True),
            (hbox(self.programs, (right, 1), spacing=1.5), 1),
            spacing=1,
            parent=licences,
        )
        self.pages.addWidget(self.versions)
        self.pages.addWidget(licences)
        vbox(
            label(f"Finetune Studio {__version__}", "title"),
            label(what, "muted", wrap=True),
            self.choice,
            (self.pages, 1),
            hbox(self.copy, STRETCH, self.leave),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 130, 62)


def _read(_: Progress) -> Found:
    try:
        return versions(), [(one, licence_text(one)) for one in components()]
    except PackageNotFoundError as error:
        raise StudioError(
            tr("The licences are listed where the program was installed with pip; here it was not.")
        ) from error
    except OSError as error:
        raise StudioError(tr("The licences could not be read: {reason}").format(reason=error)) from error


def _text(name: str) -> QPlainTextEdit:
    text = QPlainTextEdit(readOnly=True)
    text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    text.setTabChangesFocus(True)
    text.setAccessibleName(name)
    return text
