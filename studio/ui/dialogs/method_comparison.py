"""The comparison of methods: what each amounts to for the chosen model, and one click to take one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QWidget

from studio.config import RunConfig
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import MethodRow
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.comparison import ComparisonDialog
from studio.ui.dialogs.guide import offer_guide
from studio.ui.models.method_comparison import COST, EXPORTS, MEMORY, NAME, TRAINED, MethodModel
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.cells import MemoryDelegate
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.memory_bar import MemoryLegend
from studio.ui.widgets.table import ComparisonTable, select_row, selected_row
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo


class MethodComparison(ComparisonDialog):
    """Estimates as soon as it is opened. `taken` carries the name of the method that the user takes.

    Args:
        tables: the `[method]` tables of methods whose options the user has set; all others have their defaults.
    """

    def __init__(
        self,
        context: AppContext,
        info: ModelInfo,
        config: RunConfig,
        tables: Sequence[Mapping[str, Any]] = (),
        parent: QWidget | None = None,
    ) -> None:
        title = tr("Methods compared")
        self._present = config.method.name
        self.model = MethodModel(self._present)
        super().__init__(context, title, tr("Comparing the methods"), ComparisonTable(self.model, title, COST), parent)
        offer_guide(self, "methods")
        self.legend, self._legend_title = MemoryLegend(), label("", "caption")
        self._set_columns()
        about = tr(
            "Computed for {model} with the settings on the Setup page, before anything is loaded. Methods that you "
            "have not set yet have their defaults."
        )
        self._lay_out(
            tr("Which method suits this model?"),
            about.format(model=info.name),
            hbox(self._legend_title, (self.legend, 1), spacing=1),
            hbox((self.verdict, 1), 0, self.leave, self.use, spacing=1),
        )
        resize_dialog(self, 188, 82)
        self._select(self._present)
        self.table.setFocus()
        self._job.finished.connect(self._show_rows)
        self._job.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))
        self.verdict.set(tr("Estimating every method …"), "busy")
        self._job.start(lambda _: actions.compare_methods(info, config, tables))

    @property
    def chosen(self) -> MethodRow | None:
        """The selected row."""
        index = selected_row(self.table)
        return None if index is None else self.model.row(index.row())

    def _show_rows(self, rows: Sequence[MethodRow]) -> None:
        chosen = self.chosen
        self.model.show(rows)
        for place, row in enumerate(rows):
            if row.problem:  # its sentence takes the room of what it is about
                self.table.setSpan(place, TRAINED, 1, EXPORTS - TRAINED + 1)
        self.table.resizeRowsToContents()
        self.verdict.set("")
        self._select(chosen.name if chosen else rows[0].name)

    def _select(self, name: str) -> None:
        select_row(self.table, self.model.index(self.model.place(name), NAME))
        self._offer()

    @override
    def _offer(self) -> None:
        """Offer the selected method, and show the parts of its memory."""
        row = self.chosen
        title = self.model.title(row.name) if row else ""
        estimate = row.estimate if row else None
        self.legend.show_parts(estimate.bytes if estimate else {})
        self._legend_title.setText(tr("Memory with {method}:").format(method=title) if estimate else "")
        words = tr("Keep {method}") if row and row.name == self._present else tr("Use {method}")
        name = words.format(method=title) if row else tr("Use this method")
        if row and estimate:
            self._show_offer(name, row.name, tr("Choose it on the Method card (Enter)"))
        else:
            self._show_offer(name, "", (row.problem if row else "") or tr("Select a method that suits the model."))

    def _set_columns(self) -> None:
        self.table.setItemDelegateForColumn(MEMORY, MemoryDelegate(self.table))
        self.table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.table.horizontalHeader()
        for column, width in ((NAME, 20), (EXPORTS, 33)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, theme.characters(width))
