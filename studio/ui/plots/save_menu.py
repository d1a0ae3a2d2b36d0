"""The menu that saves numbers and pictures of plots in files, or copies a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from studio.errors import StudioError
from studio.i18n import tr
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.plots import csv_export
from studio.ui.plots.picture_export import copy_picture, save_picture
from studio.ui.widgets.buttons import push_button

CSV = "CSV (*.csv)"
PICTURES = ("PNG (*.png)", "SVG (*.svg)")
Rows = Iterable[csv_export.Row]
# By the name of the file: the title, and what gives the rows when they are written.
Tables: TypeAlias = Mapping[str, tuple[str, Callable[[], Rows]]]
# By the name of the file: the title and the widget to draw.
Pictures: TypeAlias = Mapping[str, tuple[str, QWidget]]


class SaveMenu:
    """A button with a menu: the numbers as CSV, every picture as PNG or SVG, or on the clipboard."""

    def __init__(self, context: AppContext, page: QWidget, tables: Tables, pictures: Pictures) -> None:
        self._context, self._page = context, page
        tooltip = tr("Save the numbers or a picture in a file, or copy a picture")
        self.button: QPushButton = push_button(tr("Save as"), tooltip=tooltip)
        self.button.setProperty("menu", True)
        menu = QMenu(self.button)
        for name, (title, rows) in tables.items():
            menu.addAction(tr("{title} (CSV) …").format(title=title), partial(self._save_numbers, name, rows))
        menu.addSeparator()
        copies = QMenu(tr("Copy a picture"), menu)
        for name, (title, widget) in pictures.items():
            words = tr("{title} (picture) …").format(title=title)
            menu.addAction(words, partial(self._save_picture, name, title, widget))
            copies.addAction(title, partial(copy_picture, widget))
        menu.addSeparator()
        menu.addMenu(copies)
        self.button.setMenu(menu)

    def _save_numbers(self, name: str, rows: Callable[[], Rows]) -> None:
        path = self._ask(f"{name}.csv", (CSV,))
        if path is None:
            return
        table = rows()
        # A job of its own: the next table must not take the place of one that is still being written.
        job = Job(self._page, self._context, tr("Saving"))
        job.failed.connect(self._context.message)
        job.start(lambda progress: csv_export.write_csv(path, table, progress))

    def _save_picture(self, name: str, title: str, widget: QWidget) -> None:
        path = self._ask(f"{name}.png", PICTURES)
        if path is None:
            return
        try:
            save_picture(widget, path, title)
        except StudioError as error:
            self._context.message.emit(str(error))

    def _ask(self, name: str, kinds: tuple[str, ...]) -> Path | None:
        """Return the file to write; a name without the ending of one of the kinds gets that of the chosen one."""
        chosen, kind = QFileDialog.getSaveFileName(self._page, tr("Save as"), name, ";;".join(kinds))
        if not chosen:
            return None
        path = Path(chosen)
        if path.suffix.lower() in map(_ending, kinds):
            return path
        path = path.with_name(path.name + _ending(kind or kinds[0]))
        if not path.exists():
            return path
        # The dialog asked about the name that was typed, not about this one.
        self._context.message.emit(tr("{path} exists already. Choose another name.").format(path=path))
        return None


def _ending(kind: str) -> str:
    """The ending in a filter such as CSV (*.csv)."""
    return kind[-5:-1]
