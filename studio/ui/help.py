"""What the Help menu opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMainWindow, QWidget

from studio.ui.bridge import AppContext
from studio.ui.place import open_dialog
from studio.ui.tour import Tour

if TYPE_CHECKING:
    from studio.ui.dialogs.guide import Guide


class Help(QObject):
    """The guide, opened beside the window at the chapter of its page, and what tells of the program.

    Args:
        page: says which page the window shows.
        target: returns the control that a step of the tour is about.
    """

    def __init__(
        self, context: AppContext, window: QMainWindow, page: Callable[[], str], target: Callable[[str], QWidget]
    ) -> None:
        super().__init__(window)
        self._context, self._window, self._page, self._target = context, window, page, target
        self.guide: Guide | None = None
        self.tour: Tour | None = None

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Return what the commands of the menu do, by their names."""
        return {
            "guide": self.open_guide,
            "tour": self.begin_tour,
            "report": self.open_report,
            "about": self.open_about,
        }

    def open_guide(self) -> None:
        """Show the chapter of the present page."""
        from studio.ui.dialogs.guide import Guide

        if self.guide is None:
            self.guide = Guide(self._window)
        self.guide.show_chapter(self._page())
        self.guide.show()
        self.guide.activateWindow()

    def begin_tour(self) -> None:
        """Begin the tour on the Setup page; one that is under way begins again."""
        self._end_tour()
        self._context.page_requested.emit("setup")
        self.tour = Tour(self._window, self._target)
        self.tour.ended.connect(self._remember_tour)

    def begin_first_tour(self) -> None:
        """Begin the tour where the user has not seen it yet."""
        if not self._context.settings.tour_seen:
            self.begin_tour()

    def open_report(self) -> None:
        """Offer a report about a problem, with the run that is shown."""
        from studio.ui.dialogs.report import ReportDialog

        record = self._context.record
        open_dialog(ReportDialog(self._context, record.folder if record else None, self._window))

    def open_about(self) -> None:
        """Show versions and licences."""
        from studio.ui.dialogs.about import About

        open_dialog(About(self._context, self._window))

    def forget(self) -> None:
        """Close what is written in another language than the window is from now on."""
        self._end_tour()
        if self.guide is not None:
            self.guide.close()
            self.guide.deleteLater()
            self.guide = None

    def _remember_tour(self) -> None:
        self._context.settings.tour_seen = True
        self.tour = None

    def _end_tour(self) -> None:
        if self.tour is not None:
            self.tour.end()
