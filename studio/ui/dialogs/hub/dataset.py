"""A dataset of the hub, by its id, with the subset and the split where it has several."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QLineEdit, QVBoxLayout, QWidget

from studio.i18n import tr
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.hub.search import FindOnHub
from studio.ui.place import open_dialog, resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label

_WHOLE = "train"
"""The split that is read of a subset when no other is named."""


class HubDataset(QDialog):
    """`taken` carries the dataset as a source of the configuration names it: owner/name:subset:split."""

    taken = Signal(str)

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self.setWindowTitle(tr("Dataset of the hub"))
        offer_guide(self, "setup", "data")
        self.id, self.subset, self.split = QLineEdit(), QLineEdit(), QLineEdit()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.add = push_button(tr("Add"), "primary", "add")
        self.search_button = push_button(tr("Find …"), icon="search", tooltip=tr("Search the hub for a dataset"))
        self.search_button.clicked.connect(self._find)
        self.search_button.setAutoDefault(False)
        self.leave.setAutoDefault(False)
        self.add.setDefault(True)
        self.id.textChanged.connect(self._judge)
        self.subset.textChanged.connect(lambda text: self.split.setPlaceholderText(_WHOLE if text else tr("All")))
        self.leave.clicked.connect(self.reject)
        self.add.clicked.connect(self._take)
        about = tr(
            "It is downloaded once and read from this computer afterwards. Subset and split are named on the page of "
            "the dataset; without a split, all of its files are read."
        )
        vbox(
            label(tr("Dataset of the hub"), "title"),
            label(about, "muted", wrap=True),
            _field(self.id, tr("Dataset"), "owner/name", tr("The id of the dataset, or the address of its page")),
            _field(
                self.subset, tr("Subset"), tr("None"), tr("Also called configuration; empty where there is one only")
            ),
            _field(self.split, tr("Split"), tr("All"), tr("Such as train, validation or test")),
            hbox(self.search_button, STRETCH, self.leave, self.add, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 80)
        self._judge()

    def source(self) -> str:
        """Return the dataset as a path of the configuration; "" while the id is not complete."""
        name = self.id.text().strip().rsplit("/datasets/", 1)[-1].strip("/")
        subset, split = self.subset.text().strip(), self.split.text().strip()
        if name.count("/") != 1 or not all(name.split("/")) or any(sign in name for sign in ": "):
            return ""
        if subset:
            return f"{name}:{subset}:{split or _WHOLE}"
        return f"{name}:{split}" if split else name

    def _find(self) -> None:
        dialog = FindOnHub(self._context, "dataset", self)
        dialog.taken.connect(self.id.setText)
        open_dialog(dialog)

    def _judge(self) -> None:
        complete = bool(self.source())
        self.add.setEnabled(complete)
        self.add.setToolTip(
            tr("Add it to the datasets (Enter)") if complete else tr("Give its id as owner/name first.")
        )

    def _take(self) -> None:
        if source := self.source():
            self.taken.emit(source)
            self.accept()


def _field(line: QLineEdit, title: str, placeholder: str, about: str) -> QVBoxLayout:
    name = label(title)
    name.setBuddy(line)
    line.setPlaceholderText(placeholder)
    line.setAccessibleName(title)
    line.setAccessibleDescription(about)
    line.setToolTip(about)
    return vbox(name, line, label(about, "caption", wrap=True), spacing=0.25)
