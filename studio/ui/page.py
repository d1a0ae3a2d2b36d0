"""The base class of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from studio.runner.record import RunRecord


class Page(QWidget):
    """A page beside the rail. One that shows a run overrides both."""

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""

    def refresh(self) -> None:
        """Show what the present run has become. Called only while the page is visible and the record changed."""
