"""Which hub is asked, where, and the token for it."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from studio.engine.control import Progress
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import Hub
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

_SELECTABLE = Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard


class HubChoice(Disclosure):
    """`changed` says that another hub is asked from now on, or with another token.

    Only models leave a choice of hub, which `for_models` offers: all else is on Hugging Face's.
    """

    changed = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None, *, for_models: bool = False) -> None:
        super().__init__(tr("Hub, mirror and token"), parent)
        self._context, self._for_models = context, for_models
        self._save_token = Job(self, context, tr("Saving the token"))
        self.hub = ComboBox((name, tr(hub.title)) for name, hub in actions.HUBS.items())
        self.address, self.token, self.verdict = QLineEdit(), QLineEdit(), Verdict("caption")
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.use = push_button(tr("Use"), tooltip=tr("Ask this hub from now on (Enter)"))
        self.keep = push_button(tr("Keep"), tooltip=tr("Keep the token in the keyring of this computer (Enter)"))
        for button in (self.use, self.keep):
            button.setAutoDefault(False)
        self.hub.set_value(self._in_use.name)
        self._show_hub()
        self._build()
        self._connect()

    @property
    def _in_use(self) -> Hub:
        return actions.hub_of("model") if self._for_models else actions.HUGGING_FACE

    def _build(self) -> None:
        about_address = tr("A mirror, or a hub of your own; empty: the usual one")
        about_token = tr(
            "For models whose terms you have accepted. It is kept in the keyring of this computer, for this hub alone; "
            "Keep with an empty field forgets it."
        )
        fields = [
            (_field(self.address, tr("Address"), about_address, self.use), 1),
            (_field(self.token, tr("Token"), about_token, self.keep), 1),
        ]
        self.missing = label("", "caption", wrap=True)
        self.missing.setTextInteractionFlags(_SELECTABLE)
        if self._for_models:
            about_hub = tr("Datasets, and exports that you put on a hub, are on Hugging Face's in any case.")
            fields.insert(0, (_field(self.hub, tr("Models come from"), about_hub), 1))
            self._switch_off()
        self.missing.setVisible(bool(self.missing.text()))
        self.content.addLayout(vbox(hbox(*fields, spacing=3), self.missing, self.verdict, spacing=1))

    def _switch_off(self) -> None:
        """Switch the hubs off that cannot be asked, and say why, and what mends it."""
        reasons = []
        for row, hub in enumerate(actions.HUBS.values()):
            if reason := hub.why_not():
                words = tr("{hub} cannot be chosen: {reason}").format(hub=tr(hub.title), reason=reason)
                cast(QStandardItemModel, self.hub.model()).item(row).setEnabled(False)
                self.hub.setItemData(row, words, Qt.ItemDataRole.ToolTipRole)
                reasons.append(words)
        self.missing.setText("\n".join(reasons))

    def _connect(self) -> None:
        self.hub.changed.connect(self._choose)
        self.address.returnPressed.connect(self._use)
        self.token.returnPressed.connect(self._keep)
        self.use.clicked.connect(self._use)
        self.keep.clicked.connect(self._keep)
        self._save_token.finished.connect(self._kept)
        self._save_token.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))

    def _choose(self) -> None:
        self._context.settings.models_from = self.hub.value()
        actions.choose_hub(self.hub.value())
        self._show_hub()
        self._changed()

    def _show_hub(self) -> None:
        self.address.setText(self._context.settings.hub_address(self._in_use.name))
        self.address.setPlaceholderText(self._in_use.given_address())
        self.token.setPlaceholderText(f"{self._in_use.token_sign}…")

    def _changed(self) -> None:
        self.verdict.set(tr("{hub} is asked from now on.").format(hub=self._in_use.spoken()), "good")
        self.changed.emit()

    def _use(self) -> None:
        address = self.address.text().strip().rstrip("/")
        parts = urlsplit(address if "://" in address or not address else f"https://{address}")
        if address and (parts.scheme not in ("http", "https") or not parts.hostname):
            self.verdict.set(tr("Write an address such as https://hf-mirror.com, or nothing."), "bad")
            return
        self._context.settings.remember_hub_address(self._in_use.name, parts.geturl())
        self.address.setText(parts.geturl())
        self._in_use.use(parts.geturl())
        self._changed()

    def _keep(self) -> None:
        token, hub = self.token.text().strip(), self._in_use
        self.token.clear()

        def save(_: Progress) -> bool:
            actions.save_token(token, hub)
            return bool(token)

        self._save_token.start(save)

    def _kept(self, kept: bool) -> None:
        words = tr("The token is kept for {hub}.") if kept else tr("No token is kept for {hub}.")
        self.verdict.set(words.format(hub=self._in_use.spoken()), "good")
        self.changed.emit()


def _field(line: QWidget, title: str, about: str, button: QWidget | None = None) -> QVBoxLayout:
    name = label(title)
    name.setBuddy(line)
    line.setAccessibleName(title)
    line.setAccessibleDescription(about)
    line.setToolTip(about)
    row = hbox((line, 1), button, spacing=1) if button else hbox((line, 1))
    return vbox(name, row, label(about, "caption", wrap=True), 1, spacing=0.25)
