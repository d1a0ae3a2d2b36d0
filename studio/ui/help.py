"""What the Help menu opens."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMainWindow

from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import Guide
from studio.ui.place import open_dialog


class Help(QObject):
    """The guide, opened beside the window at the chapter of its page, and what tells of the program.

    Args:
        page: says which page the window shows.
    """

    def __init__(self, context: AppContext, window: QMainWindow, page: Callable[[], str]) -> None:
        super().__init__(window)
        self._context, self._window, self._page = context, window, page
        self.guide: Guide | None = None

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Return what the commands of the menu do, by their names."""
        return {"guide": self.open_guide, "about": self.open_about}

    def open_guide(self) -> None:
        """Show the chapter of the present page."""
        if self.guide is None:
            self.guide = Guide(self._window)
        self.guide.show_chapter(self._page())
        self.guide.show()
        self.guide.activateWindow()

    def open_about(self) -> None:
        """Show versions and licences."""
        from studio.ui.dialogs.about import About

        open_dialog(About(self._context, self._window))

    def forget(self) -> None:
        """Close what is written in another language than the window is from now on."""
        if self.guide is not None:
            self.guide.close()
            self.guide.deleteLater()
            self.guide = None
