"""For how many epochs a run that has ended is to go on."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QWidget

from studio.config import Section, option
from studio.i18n import gettext_noop, tr
from studio.ui.dialogs.guide import offer_guide
from studio.ui.forms.form import Form
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label


class More(Section):
    """How much more."""

    epochs: float = option(
        2.0,
        "Epochs more",
        "How often each row is seen again. The learning rate follows its schedule over the whole length.",
        unit=gettext_noop("epochs"),
        gt=0.0,
        le=10_000.0,
    )


class TrainOn(QDialog):
    """`wanted` carries the number of epochs."""

    wanted = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("train_on")
        self.setWindowTitle(tr("Train on"))
        offer_guide(self, "runs", "continue")
        self.form = Form(More)
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.go_on = push_button(tr("Train on"), "primary", "continue", tr("Go on from where the run ended (Enter)"))
        self.leave.setAutoDefault(False)
        self.go_on.setDefault(True)
        self.form.changed.connect(lambda: self.go_on.setEnabled(not self.form.problem()))
        self.leave.clicked.connect(self.reject)
        self.go_on.clicked.connect(self._take)
        about = tr("The run goes on in its own folder, with its optimizer as it was. Its plots go on as one line.")
        vbox(
            label(tr("Train on"), "title"),
            label(about, "muted", wrap=True),
            self.form,
            hbox(STRETCH, self.leave, self.go_on, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 80)

    def _take(self) -> None:
        if not self.form.problem():
            self.wanted.emit(float(self.form.values()["epochs"]))
            self.accept()
