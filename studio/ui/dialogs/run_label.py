"""The name, tags and notes that a person gives a run."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QLineEdit, QPlainTextEdit, QWidget

from studio.i18n import tr
from studio.runs import RunLabel
from studio.ui import theme
from studio.ui.dialogs.guide import offer_guide
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label

LONGEST = 200


class LabelDialog(QDialog):
    """`wanted` carries the label as it was typed."""

    wanted = Signal(object)

    def __init__(self, present: RunLabel, folder: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Name and notes"))
        offer_guide(self, "runs")
        self._present = present
        self.name = QLineEdit(present.name, maxLength=LONGEST)
        self.name.setPlaceholderText(folder)
        self.tags = QLineEdit(", ".join(present.tags), maxLength=LONGEST)
        self.tags.setPlaceholderText(tr("baseline, rank 16"))
        self.notes = QPlainTextEdit(present.notes)
        self.notes.setTabChangesFocus(True)
        rows = (
            (self.name, tr("Name"), tr("How the run is called in the list; its folder keeps its name")),
            (self.tags, tr("Tags"), tr("Words by which runs are found again, with commas between them")),
            (self.notes, tr("Notes"), tr("What you want to remember of this run")),
        )
        form = QFormLayout()
        form.setVerticalSpacing(theme.space(1.5))
        for widget, title, about in rows:
            widget.setAccessibleName(title)
            widget.setToolTip(about)
            form.addRow(title, widget)
        leave = push_button(tr("Cancel"), "plain", tooltip=tr("Close without a change (Esc)"))
        keep = push_button(tr("Save"), "primary", "save", tr("Write this into the folder of the run (Enter)"))
        leave.setAutoDefault(False)
        keep.setDefault(True)
        leave.clicked.connect(self.reject)
        keep.clicked.connect(self._take)
        foot = hbox(STRETCH, leave, keep, spacing=1)
        vbox(label(tr("Name and notes"), "title"), (form, 1), foot, spacing=1.5, margins=(3, 3, 3, 2), parent=self)
        resize_dialog(self, 80)

    def _take(self) -> None:
        typed = (tag.strip() for tag in self.tags.text().replace("，", ",").split(","))
        tags = tuple(dict.fromkeys(filter(None, typed)))
        name, notes = self.name.text().strip(), self.notes.toPlainText()
        self.wanted.emit(dataclasses.replace(self._present, name=name, tags=tags, notes=notes))
        self.accept()
