"""A card: a titled surface with a summary on the right, a verdict below the title, and a body."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.ui import theme
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Level, Verdict


class Card(QFrame):
    """Put widgets into `body`. Summary and verdict take no room while they are empty."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(title)
        self.title = label(title, "heading")
        self._summary = ElidedLabel()
        self._verdict = Verdict()
        self.header = QHBoxLayout()
        self.header.setSpacing(theme.space(1.5))
        self.header.addWidget(self.title)
        self.header.addStretch(1)
        self.header.addWidget(self._summary)
        self.body = QVBoxLayout()
        self.body.setSpacing(theme.space(1.25))
        whole = QVBoxLayout(self)
        margin = theme.space(2)
        whole.setContentsMargins(margin, margin, margin, margin)
        whole.setSpacing(theme.space(1))
        whole.addLayout(self.header)
        whole.addWidget(self._verdict)
        whole.addLayout(self.body, 1)

    @property
    def summary(self) -> str:
        return self._summary.whole_text

    @property
    def verdict(self) -> tuple[str, Level]:
        return self._verdict.text, self._verdict.level

    def set_summary(self, text: str) -> None:
        """Say in a few words what the card holds."""
        self._summary.set_text(text)

    def set_verdict(self, text: str, level: Level = "none") -> None:
        """Say in a sentence whether that is good."""
        self._verdict.set(text, level)
