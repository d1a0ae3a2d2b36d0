"""A card: a titled surface with a summary on the right, a verdict below the title, and a body."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QWidget

from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import STRETCH, Margins, hbox, set_margins, vbox
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Level, Verdict


class Card(QFrame):
    """Put widgets into `body`, and buttons for all of it into `tools`, beside the title.

    Summary and verdict take no room while they are empty.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(title)
        self.title = label(title, "heading")
        self._summary = ElidedLabel()
        self._verdict = Verdict()
        self.header = hbox(self.title, STRETCH, self._summary, spacing=1.5)
        self.tools = flow(spacing=1)
        self.body = vbox(spacing=1.25)
        self._whole = vbox(
            flow((self.header, 1), self.tools), self._verdict, (self.body, 1), spacing=1, margins=2, parent=self
        )

    def set_margins(self, margins: Margins) -> None:
        """Set the space around everything on the card, in units of `theme.space`."""
        set_margins(self._whole, margins)

    @property
    def summary(self) -> str:
        return self._summary.whole_text

    @property
    def verdict(self) -> tuple[str, Level]:
        return self._verdict.text, self._verdict.level

    def summary_width(self) -> int:
        """Return the room that the summary needs, in pixels."""
        return self._summary.sizeHint().width()

    def set_summary(self, text: str) -> None:
        """Say in a few words what the card holds."""
        self._summary.set_text(text)

    def set_verdict(self, text: str, level: Level = "none") -> None:
        """Say in a sentence whether that is good."""
        self._verdict.set(text, level)
