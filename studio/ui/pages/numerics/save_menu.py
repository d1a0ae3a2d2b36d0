"""The menu that saves the page's numbers and pictures in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from studio.errors import StudioError
from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.plots import csv_export
from studio.ui.plots.picture_export import save_picture
from studio.ui.widgets.buttons import push_button

CSV = "CSV (*.csv)"
PICTURES = ("PNG (*.png)", "SVG (*.svg)")
Rows = Iterable[csv_export.Row]


class SaveMenu:
    """A button with a menu: the numbers as CSV, every picture as PNG or SVG."""

    def __init__(self, context: AppContext, page: QWidget, pictures: Mapping[str, tuple[str, QWidget]]) -> None:
        """`pictures` are the widgets to draw with their titles, by the name of their file."""
        self._context, self._page = context, page
        self.button: QPushButton = push_button(tr("Save as"), tooltip=tr("Save the numbers or a picture in a file"))
        self.button.setProperty("menu", True)
        menu = QMenu(self.button)
        tables: tuple[tuple[str, str, Callable[[RunRecord], Rows]], ...] = (
            ("modules", tr("Modules over steps"), _modules),
            ("exponents", tr("Exponents"), lambda record: csv_export.histogram_rows(list(record.samples))),
            (
                "scales",
                tr("Shares at every scale"),
                lambda record: csv_export.scale_rows(record.samples[-1:], range(33)),
            ),
            ("steps", tr("Losses, norms, scales and skips"), csv_export.step_rows),
            ("verdicts", tr("Verdicts"), csv_export.verdict_rows),
        )
        for name, title, rows in tables:
            menu.addAction(tr("{title} (CSV) …").format(title=title), partial(self._save_numbers, name, rows))
        menu.addSeparator()
        for name, (title, widget) in pictures.items():
            words = tr("{title} (picture) …").format(title=title)
            menu.addAction(words, partial(self._save_picture, name, title, widget))
        self.button.setMenu(menu)

    def _save_numbers(self, name: str, rows: Callable[[RunRecord], Rows]) -> None:
        record = self._context.record
        path = self._ask(f"{name}.csv", (CSV,)) if record is not None else None
        if path is None or record is None:
            return
        table = rows(record)
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


def _modules(record: RunRecord) -> Rows:
    names = record.numerics.modules if record.numerics else []
    return csv_export.module_rows(names, list(record.samples))
