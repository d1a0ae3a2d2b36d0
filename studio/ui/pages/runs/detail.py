"""What is said of the selected run below the table."""

from __future__ import annotations

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.i18n import tr
from studio.ui.models.run_summary import RunSummary
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
        self.describe = push_button(tr("Name and notes…"), "plain", "", tr("Give the run a name, tags and notes (F2)"))
        self.star = push_button(tr("Star"), "plain", "", tr("Give the run a star, or take it away (Ctrl+D)"))
        for button in (self.describe, self.star, self.start_from, self.reuse):
            self.tools.add(button)
        self.body.addWidget(self.text, 1)

    def show_run(self, run: RunSummary | None) -> None:
        """Show another run, or none."""
        self.set_summary(run.folder.name if run else "")
        words = tr("Take the star away") if run is not None and run.label.star else tr("Star")
        self.star.setText(words)
        self.star.setAccessibleName(words)
        self.set_verdict(run.problem if run else "", "bad")
        self.text.setPlainText(run.configuration or tr("This run has no readable config.toml.") if run else "")
