"""The comparison of methods: what each amounts to for the chosen model, and one click to take one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QItemSelectionModel, Signal
from PySide6.QtWidgets import QAbstractItemView, QDialog, QHBoxLayout, QHeaderView, QTableView, QVBoxLayout, QWidget
from typing_extensions import override

from studio.config import RunConfig
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import MethodRow
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.method_comparison import COST, EXPORTS, MEMORY, NAME, TRAINED, MethodModel
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.cells import MemoryDelegate, WrappingDelegate
from studio.ui.widgets.memory_bar import MemoryLegend
from studio.ui.widgets.table import comparison_table
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo


class MethodComparison(QDialog):
    """Estimates as soon as it is opened. `taken` carries the name of the method that the user takes.

    Args:
        tables: the `[method]` tables of methods whose options the user has set; all others have their defaults.
    """

    taken = Signal(str)

    def __init__(
        self,
        context: AppContext,
        info: ModelInfo,
        config: RunConfig,
        tables: Sequence[Mapping[str, Any]] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Methods compared"))
        self._job = Job(self, context, tr("Comparing the methods"))
        self._model_name = info.path.name
        self._present = config.method.name
        self.model = MethodModel(self._present)
        self.table, self.verdict = self._make_table(), Verdict()
        self.legend, self._legend_title = MemoryLegend(), label("", "caption")
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.use = push_button(tr("Use this method"), "primary", "check")
        self.leave.setAutoDefault(False)
        self.use.setDefault(True)
        self._lay_out()
        self._connect()
        self.resize(theme.characters(188), theme.space(82))
        self._select(self._present)
        self.table.setFocus()
        self.verdict.set(tr("Estimating every method …"), "busy")
        self._job.start(lambda _: actions.compare_methods(info, config, tables))

    @property
    def chosen(self) -> MethodRow | None:
        """The selected row."""
        selected = self.table.selectionModel().selectedRows()
        return self.model.row(selected[0].row()) if selected else None

    @override
    def done(self, result: int) -> None:
        """However the dialog ends, nobody waits for an answer."""
        self._job.drop()
        super().done(result)

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
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.table.selectionModel().setCurrentIndex(self.model.index(self.model.place(name), NAME), flags)
        self._offer()

    def _offer(self) -> None:
        """Offer the selected method, and show the parts of its memory."""
        row = self.chosen
        self.legend.show_parts(row.estimate.bytes if row and row.estimate else {})
        title = self.model.title(row.name) if row else ""
        self._legend_title.setText(tr("Memory with {method}:").format(method=title) if row and row.estimate else "")
        words = tr("Keep {method}") if row and row.name == self._present else tr("Use {method}")
        name = words.format(method=title) if row else tr("Use this method")
        self.use.setText(f"\u00a0{name}")
        self.use.setAccessibleName(name)
        works = row is not None and row.estimate is not None
        self.use.setEnabled(works)
        reason = (row.problem if row else "") or tr("Select a method that suits the model.")
        self.use.setToolTip(tr("Choose it on the Method card (Enter)") if works else reason)

    def _take(self) -> None:
        row = self.chosen
        if row is not None and row.estimate is not None:
            self.taken.emit(row.name)
            self.accept()

    def _make_table(self) -> QTableView:
        table = comparison_table(self.model, tr("Methods compared"), COST)
        table.setItemDelegate(WrappingDelegate(table))
        table.setItemDelegateForColumn(MEMORY, MemoryDelegate(table))
        table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = table.horizontalHeader()
        for column, width in ((NAME, 20), (EXPORTS, 33)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, theme.characters(width))
        return table

    def _connect(self) -> None:
        self._job.finished.connect(self._show_rows)
        self._job.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))
        self.table.selectionModel().selectionChanged.connect(self._offer)
        self.table.doubleClicked.connect(self._take)
        self.leave.clicked.connect(self.reject)
        self.use.clicked.connect(self._take)

    def _lay_out(self) -> None:
        about = tr(
            "Computed for {model} with the settings on the Setup page, before anything is loaded. Methods that you "
            "have not set yet have their defaults."
        ).format(model=self._model_name)
        foot = QHBoxLayout()
        foot.setSpacing(theme.space(1))
        foot.addWidget(self.verdict, 1)
        foot.addStretch(0)
        foot.addWidget(self.leave)
        foot.addWidget(self.use)
        parts = QHBoxLayout()
        parts.setSpacing(theme.space(1))
        parts.addWidget(self._legend_title)
        parts.addWidget(self.legend, 1)
        whole = QVBoxLayout(self)
        margin = theme.space(3)
        whole.setContentsMargins(margin, margin, margin, theme.space(2))
        whole.setSpacing(theme.space(1.5))
        whole.addWidget(label(tr("Which method suits this model?"), "title"))
        whole.addWidget(label(about, "muted", wrap=True))
        whole.addWidget(self.table, 1)
        whole.addLayout(parts)
        whole.addLayout(foot)
