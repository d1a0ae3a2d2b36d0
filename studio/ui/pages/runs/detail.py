"""What is said of the selected run below the table."""

from __future__ import annotations

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.i18n import tr
from studio.ui.models.runs import RunSummary
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card


class RunDetail(Card):
    """The configuration as it was written when the run began; it can be copied, not changed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Configuration"), parent)
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName(tr("Configuration of the selected run"))
        self.text.setPlaceholderText(tr("Select a run to see its configuration."))
        self.reuse = push_button(
            tr("Use again"), "plain", "setup", tr("Fill in the Setup page with exactly this configuration")
        )
        self.start_from = push_button(
            tr("Start from this run"),
            "plain",
            "model",
            tr("Fill in the Setup page for a new run, on other data say, that begins with what this one has learnt"),
        )
        self.header.addWidget(self.start_from)
        self.header.addWidget(self.reuse)
        self.body.addWidget(self.text, 1)

    def show_run(self, run: RunSummary | None) -> None:
        """Show another run, or none."""
        self.set_summary(run.folder.name if run else "")
        self.set_verdict(run.problem if run else "", "bad")
        self.text.setPlainText(run.configuration or tr("This run has no readable config.toml.") if run else "")
