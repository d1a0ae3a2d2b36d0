"""Which hub is asked, and the token for it."""

from __future__ import annotations

from urllib.parse import urlsplit

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from studio.engine.control import Progress
from studio.i18n import tr
from studio.runner import actions
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class HubChoice(Disclosure):
    """`changed` says that another hub is asked from now on, or with another token."""

    changed = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(tr("Hub, mirror and token"), parent)
        self._context = context
        self._save_token = Job(self, context, tr("Saving the token"))
        self.address, self.token, self.verdict = QLineEdit(context.settings.hub), QLineEdit(), Verdict("caption")
        self.address.setPlaceholderText(actions.given_hub())
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setPlaceholderText(tr("hf_…"))
        self.use = push_button(tr("Use"), tooltip=tr("Ask this hub from now on (Enter)"))
        self.keep = push_button(tr("Keep"), tooltip=tr("Keep the token in the keyring of this computer (Enter)"))
        for button in (self.use, self.keep):
            button.setAutoDefault(False)
        about_address = tr("A mirror, or a hub of your own; empty: the usual one")
        about_token = tr(
            "For models whose terms you have accepted. It is kept in the keyring of this computer, for this hub alone; "
            "Keep with an empty field forgets it."
        )
        fields = hbox(
            (_field(self.address, tr("Address"), about_address, self.use), 1),
            (_field(self.token, tr("Token"), about_token, self.keep), 1),
            spacing=3,
        )
        self.content.addLayout(vbox(fields, self.verdict, spacing=1))
        self.address.returnPressed.connect(self._use)
        self.token.returnPressed.connect(self._keep)
        self.use.clicked.connect(self._use)
        self.keep.clicked.connect(self._keep)
        self._save_token.finished.connect(self._kept)
        self._save_token.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))

    def _use(self) -> None:
        address = self.address.text().strip().rstrip("/")
        parts = urlsplit(address if "://" in address or not address else f"https://{address}")
        if address and (parts.scheme not in ("http", "https") or not parts.hostname):
            self.verdict.set(tr("Write an address such as https://hf-mirror.com, or nothing."), "bad")
            return
        self._context.settings.hub = parts.geturl()
        self.address.setText(parts.geturl())
        actions.choose_hub(parts.geturl())
        self.verdict.set(tr("{hub} is asked from now on.").format(hub=actions.hub_name()), "good")
        self.changed.emit()

    def _keep(self) -> None:
        token = self.token.text().strip()
        self.token.clear()

        def save(_: Progress) -> bool:
            actions.save_token(token)
            return bool(token)

        self._save_token.start(save)

    def _kept(self, kept: bool) -> None:
        words = tr("The token is kept for {hub}.") if kept else tr("No token is kept for {hub}.")
        self.verdict.set(words.format(hub=actions.hub_name()), "good")
        self.changed.emit()


def _field(line: QLineEdit, title: str, about: str, button: QWidget) -> QVBoxLayout:
    name = label(title)
    name.setBuddy(line)
    line.setAccessibleName(title)
    line.setAccessibleDescription(about)
    line.setToolTip(about)
    return vbox(name, hbox((line, 1), button, spacing=1), label(about, "caption", wrap=True), 1, spacing=0.25)
