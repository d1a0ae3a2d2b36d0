"""The queue: what is trained next, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QWidget

from studio.errors import StudioError
from studio.i18n import gettext_noop, tr
from studio.runner.queue import QueuedRun
from studio.text.visible import in_line, visible
from studio.text.words import PLACES
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.models.table import Column, Index, TableModel
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.table import ComparisonTable, select_row, selected_row
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

_COLUMNS = (
    Column(gettext_noop("Turn")),
    Column(gettext_noop("Run")),
    Column(gettext_noop("Lives")),
    Column(gettext_noop("Problem")),
)


class QueueModel(TableModel):
    """The runs of the queue in their order, the next one first."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS)
        self.runs: Sequence[QueuedRun] = ()

    def show(self, runs: Sequence[QueuedRun]) -> None:
        """Show other runs."""
        self.beginResetModel()
        self.runs = runs
        self.endResetModel()

    @override
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.runs)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        run = self.runs[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                cells = (self._turn(run), in_line(run.title), tr(PLACES[run.where]), visible(run.problem))
                return cells[index.column()]
            case Qt.ItemDataRole.TextAlignmentRole:
                return _COLUMNS[index.column()].alignment
            case Qt.ItemDataRole.ForegroundRole if run.problem and index.column() in (0, 3):
                return theme.palette().bad
        return None

    def _turn(self, run: QueuedRun) -> str:
        if run.problem:
            return tr("Passed over")
        waiting = [other for other in self.runs if not other.problem]
        return tr("Next") if run == waiting[0] else str(1 + waiting.index(run))


class QueueDialog(QDialog):
    """Shows the queue as it stands; every button changes it at once."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Queue"))
        offer_guide(self, "runs", "queue")
        self._context = context
        self.model = QueueModel()
        self.table = ComparisonTable(self.model, tr("Runs that wait"), 3)
        self.table.verticalHeader().setMinimumSectionSize(theme.space(4))
        self.state = Verdict()
        self.up = push_button(tr("Earlier"), "plain", tooltip=tr("Move the selected run towards the front (Alt+Up)"))
        self.down = push_button(tr("Later"), "plain", tooltip=tr("Move the selected run towards the end (Alt+Down)"))
        self.remove = push_button(tr("Take out"), "danger", "remove", tr("Take the selected run out (Delete)"))
        self.turn = push_button("", "primary")
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        self.up.clicked.connect(lambda: self._move(-1))
        self.down.clicked.connect(lambda: self._move(1))
        self.remove.clicked.connect(self._take_out)
        self.turn.clicked.connect(self._turn)
        self.leave.clicked.connect(self.accept)
        for button in (self.up, self.down, self.remove, self.turn, self.leave):
            button.setAutoDefault(False)
        for keys, slot in (("Alt+Up", self.up.click), ("Alt+Down", self.down.click), ("Del", self.remove.click)):
            QShortcut(QKeySequence(keys), self).activated.connect(slot)
        self.table.selectionModel().selectionChanged.connect(self._show_selected)
        context.queue_changed.connect(self.refresh)
        context.run_state_changed.connect(self.refresh)
        self._lay_out()
        self.refresh()

    def refresh(self) -> None:
        """Show the queue as it stands, with the same run selected."""
        chosen = self._selected()
        runs = self._context.queue.runs
        if runs != self.model.runs:
            self.model.show(runs)
            keys = [run.key for run in runs]
            row = keys.index(chosen.key) if chosen is not None and chosen.key in keys else 0
            if runs:
                select_row(self.table, self.model.index(row, 0))
        self._show_selected()
        self._show_state()

    def _selected(self) -> QueuedRun | None:
        index = selected_row(self.table)
        return self.model.runs[index.row()] if index is not None and index.row() < len(self.model.runs) else None

    def _show_selected(self) -> None:
        run, runs = self._selected(), self.model.runs
        self.remove.setEnabled(run is not None)
        self.up.setEnabled(run is not None and run != runs[0])
        self.down.setEnabled(run is not None and run != runs[-1])

    def _show_state(self) -> None:
        queue, running = self._context.queue, self._context.controller.running
        waits = any(not run.problem for run in queue.runs)
        if not waits:
            self.state.set(
                tr("Nothing waits. Add to the queue, on the Setup page, puts the configuration here."), "note"
            )
        elif queue.held:
            self.state.set(tr("The queue is held: nothing of it starts."), "warning")
        elif running:
            self.state.set(tr("The next run starts as soon as the present one has ended, however it ends."), "good")
        else:
            self.state.set(tr("The next run starts now."), "good")
        words = tr("Start the queue") if queue.held else tr("Hold the queue")
        self.turn.setText(words)
        self.turn.setAccessibleName(words)
        self.turn.setEnabled(waits or not queue.held)
        self.turn.setToolTip(
            tr("Train the runs one after another") if queue.held else tr("Let the present run end, and start no other")
        )

    def _move(self, by: int) -> None:
        run = self._selected()
        if run is not None:
            self._change(lambda: self._context.queue.move(run.key, self.model.runs.index(run) + by))

    def _take_out(self) -> None:
        run = self._selected()
        if run is not None:
            self._change(lambda: self._context.queue.remove(run.key))

    def _turn(self) -> None:
        self._context.queue.held = not self._context.queue.held
        self._context.start_queued()
        self._context.queue_changed.emit()

    def _change(self, change: Callable[[], None]) -> None:
        try:
            change()
        except StudioError as error:
            self.state.set(str(error), "bad")
        else:
            self._context.queue_changed.emit()

    def _lay_out(self) -> None:
        about = tr(
            "Each configuration is trained when the one before it has ended. One that cannot start is passed over."
        )
        side = vbox(self.up, self.down, self.remove, STRETCH, spacing=1)
        vbox(
            label(tr("Queue"), "title"),
            label(about, "muted", wrap=True),
            (hbox((self.table, 1), side, spacing=1.5), 1),
            self.state,
            hbox(STRETCH, self.leave, self.turn, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 150, 50)
