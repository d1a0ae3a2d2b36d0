"""The Train page: how the run stands, its plots and its log."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QStackedLayout, QWidget

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.i18n import tr, trn
from studio.runner.record import RunRecord
from studio.runner.state import RunState
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.train_on import TrainOn
from studio.ui.models.run_summary import method_title
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.train.banner import EndBanner
from studio.ui.pages.train.checkpoint import CheckpointLine
from studio.ui.pages.train.figures import KeyFigures
from studio.ui.pages.train.log import LogView
from studio.ui.pages.train.meters import MeterStrip
from studio.ui.pages.train.outcome import OutcomeWindow
from studio.ui.pages.train.plots import RunPlots
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.empty import NoRun
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import hbox, scrolled, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import ElidedLabel

_NARROW_CHARACTERS = 95


class TrainPage(Page):
    """Shows the run that trains, or a past one: both are a record."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("train_page")
        self.setAccessibleName(tr("Train"))
        self._context = context
        self.heading, self.about = ElidedLabel("", "heading"), ElidedLabel("", "muted")
        self.figures, self.plots = KeyFigures(), RunPlots(context)
        self.meters = MeterStrip(self.plots.timeline)
        self.banner, self.log, self.progress = EndBanner(), LogView(), TaskProgress()
        self.checkpoint = CheckpointLine(context)
        self.outcome = OutcomeWindow(context, self)
        self.show_outcome = push_button(
            tr("Gained and lost …"),
            "quiet",
            tooltip=tr("See what the model answers, and the rows it does best and worst on"),
        )
        self.show_outcome.clicked.connect(self.outcome.show)
        sentence = tr("Choose a model and some data, press Start, and watch loss and gradient scale here as they move.")
        self.empty = NoRun(context, "train", tr("No run yet"), sentence)
        self._progress_card = QFrame()
        self._progress_card.setProperty("kind", "card")
        hbox(self.progress, margins=(2, 1, 1.25, 1), parent=self._progress_card)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self._make_body())
        self.banner.export.clicked.connect(lambda: context.go_to("export"))
        self.banner.numerics.clicked.connect(lambda: context.go_to("numerics"))
        self.banner.log.clicked.connect(self.log.open)
        self.banner.go_on.clicked.connect(lambda: self._go_on(0.0))
        self.banner.consent.clicked.connect(context.continue_on_purpose)
        self.banner.train_on.clicked.connect(self.ask_how_long)
        self.checkpoint.save.clicked.connect(context.save_checkpoint)
        context.run_state_changed.connect(self._show_run_state)
        self.progress.cancelled.connect(context.stop)
        self.show_record(context.record)

    @override
    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._stack.setCurrentIndex(0 if record is None else 1)
        config = _config_of(record)
        self.plots.grad_norm.set_limit(config.training.max_grad_norm if config else 0.0)
        self.plots.retention.set_bound(config.retention.stop_below if config else 0.0)
        self.plots.show_record(record)
        self.meters.show_record(record)
        self.outcome.show_record(record)
        self.log.show_record(record)
        self.refresh()

    @override
    def refresh(self) -> None:
        """Show what the run has become."""
        record = self._context.record
        if record is None:
            return
        state = record.state
        self.heading.set_text(state.model or (record.folder.name if record.folder else tr("New run")))
        self.about.set_text(_about(state))
        self.figures.show_state(state)
        self._show_progress(record)
        self._show_run_state()
        self.plots.refresh(state.step, state.planned_updates)
        self.meters.refresh()
        self.outcome.refresh()
        self.show_outcome.setVisible(self.outcome.has_content)
        self.log.refresh()

    def _show_run_state(self) -> None:
        """Offer what can be done with the run now, which depends on whether one is under way."""
        record = self._context.record
        if record is not None:
            self.banner.show_state(record.state, can_go_on=self._context.can_continue)
            self.checkpoint.show_state(record.state, live=self._context.shows_training)

    def ask_how_long(self) -> None:
        """Ask for how many epochs a finished run is to go on."""
        dialog = TrainOn(self)
        dialog.wanted.connect(self._go_on)
        open_dialog(dialog)

    def _go_on(self, epochs: float) -> None:
        record = self._context.record
        if record is not None and record.folder is not None:
            self._context.continue_requested.emit(record.folder, epochs)

    def _show_progress(self, record: RunRecord) -> None:
        """Show the stage of the preparation until the first step is done; there are no curves before it."""
        state = record.state
        preparing = not state.step and not state.ended
        self._progress_card.setVisible(preparing)
        if preparing:
            self.progress.report(state.stage or "starting", state.done, state.total)
            self.progress.cancel.setVisible(record is self._context.live and self._context.controller.running)

    def _make_body(self) -> QWidget:
        body = QWidget()
        title = flow((hbox(self.heading, (self.about, 1), spacing=1.5), 1), self.show_outcome, self.plots.controls)
        self.log.header.addWidget(self.checkpoint)
        parts = (self.figures, self._progress_card, self.banner, (self.plots, 1), self.meters, self.log)
        vbox(title, *parts, spacing=1.5, margins=(2, 1.5, 2, 1), parent=body)
        self.area = scrolled(body, tr("Train"))
        # The log has its place in the layout one turn of the event loop after it was opened.
        self._to_log = QTimer(self, singleShot=True, interval=0)
        self._to_log.timeout.connect(lambda: self.area.ensureWidgetVisible(self.log, 0, 0))
        self.log.button.toggled.connect(self._to_log.start)
        return self.area

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.plots.arrange(narrow=event.size().width() < theme.characters(_NARROW_CHARACTERS))


def _about(state: RunState) -> str:
    rows = "" if state.data is None else _rows_text(state.data.train_rows)
    method = method_title(state.method)
    kernels = tr("{name} kernels").format(name=state.kernels.capitalize()) if state.kernels else ""
    return " · ".join(part for part in (method, state.precision, state.device, kernels, rows) if part)


def _rows_text(rows: int) -> str:
    return trn("{rows} training row", "{rows} training rows", rows).format(rows=f"{rows:,}")


def _config_of(record: RunRecord | None) -> RunConfig | None:
    """Return the newest configuration of the run; None where it cannot be read."""
    try:
        return record.configs[-1][1] if record is not None and record.configs else None
    except ConfigError:
        return None
