"""What the five cards of the Setup page have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.ui.widgets.card import Card
from studio.ui.widgets.verdict import Level


class SectionCard(Card):
    """A card that edits one section of the configuration. `changed` is emitted for every change of its values."""

    changed = Signal()
    judged = Signal()

    def __init__(self, section: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.section = section
        self.brief = ""

    def values(self) -> dict[str, Any]:
        """Return the section as it stands in CONFIG.toml."""
        raise NotImplementedError

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show a section of a configuration."""
        raise NotImplementedError

    def problem(self) -> str:
        """Return why a run cannot start because of this card, in a sentence, or nothing."""
        raise NotImplementedError

    @property
    def pending(self) -> bool:
        """Whether the card is still looking at something that a run cannot start without."""
        return False

    def judge(self, summary: str, verdict: str, level: Level, brief: str = "") -> None:
        """Show the summary and the verdict, and emit `judged`.

        Args:
            brief: a few words for both, for the outline; the first line of the verdict unless given.
        """
        self.brief = brief or verdict.split("\n")[0] or summary
        self.set_summary(summary)
        self.set_verdict(verdict, level)
        self.judged.emit()
