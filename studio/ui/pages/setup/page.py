"""The Setup page: five cards from top to bottom that together are the configuration of the next run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent, QUndoStack
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from studio.config import RunConfig, parse_config, read_config, write_config
from studio.config.run import with_options
from studio.errors import ConfigError, StudioError
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import Estimate, Remedy
from studio.runner.speed import MeasuredSpeed
from studio.runs import RunFolder, write_atomically
from studio.ui import theme
from studio.ui.actions import menu_letters
from studio.ui.bridge import AppContext
from studio.ui.forms.form import Form
from studio.ui.forms.row import share_mnemonics
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.setup.card_notice import CardNotice
from studio.ui.pages.setup.changes import ReplaceTables
from studio.ui.pages.setup.data_card import DataCard
from studio.ui.pages.setup.method_card import MethodCard
from studio.ui.pages.setup.model_card import ModelCard
from studio.ui.pages.setup.outline import Outline
from studio.ui.pages.setup.precision_card import PrecisionCard
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.pages.setup.training_card import TrainingCard
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.text import ElidedLabel, label

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo
    from studio.ui.dialogs.comparison import ComparisonDialog

TOML = "TOML (*.toml)"
LEAST_WITH_OUTLINE, WIDEST = 115, 220  # characters across; in wider lines a setting is far from its words


class SetupPage(Page):
    """`changed` is emitted when the configuration, or what is known of it, has changed."""

    changed = Signal()
    enqueue_requested = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self.model = ModelCard(context)
        self.undo = QUndoStack(self)
        self.data = DataCard(context, self.undo)
        self.method = MethodCard()
        self.precision = PrecisionCard()
        self.training = TrainingCard(context)
        self.cards: tuple[SectionCard, ...] = (self.model, self.data, self.method, self.precision, self.training)
        self._estimate = Job(self, context, tr("Estimating the memory"))
        self._explain = Job(self, context, tr("Choosing the precision"))
        self._recall = Job(self, context, tr("Looking for earlier runs"))
        self._speed: MeasuredSpeed | None = None
        self._filled = False
        self._look = Job(self, context, tr("Looking for graphics cards"))
        self.notice = CardNotice()
        self._lay_out()
        self._connect()
        self._ask()
        self._look.start(lambda _: actions.look_for_cards())

    def tables(self) -> dict[str, Any]:
        """Return the configuration as it stands, right or wrong, in the shape of CONFIG.toml."""
        sections = {card.section: card.values() for card in self.cards}
        return sections | {name: form.values() for name, form in self.training.sections.items()}

    def set_tables(self, tables: Mapping[str, Any]) -> None:
        """Show a configuration; sections that are missing get their defaults. From then on the draft is kept."""
        self._filled = True
        for card in self.cards:
            card.set_values(tables.get(card.section, {}))
        for name, form in self.training.sections.items():
            form.set_values(tables.get(name, {}))

    def keep_draft(self) -> None:
        """Keep the configuration as it stands for the next session, unless the page was never filled."""
        if self._filled:
            self._context.settings.draft = self.tables()

    def replace(self, tables: Mapping[str, Any], words: str) -> None:
        """Show a configuration in place of the present one, which `undo` brings back; `words` name the change."""
        self.undo.push(ReplaceTables(self.set_tables, self.tables(), tables, words))
        self.setFocus()  # on a line of text, Ctrl+Z would mean its letters

    def start_from(self, folder: RunFolder) -> None:
        """Let the run begin with what another one has trained, and show where other data are chosen."""
        row = self.training.form.rows["start_from"]
        row.editor.set_value(str(folder.path))
        self.training.form.more.open()
        self._reveal(self.data)

    def config(self) -> RunConfig:
        """Return the configuration of the run. Raises `ConfigError` when it is not complete and right."""
        return parse_config(self.tables())

    def start_problem(self) -> str:
        """Return why a run cannot start now, in a sentence, or nothing."""
        for card in self.cards:
            if problem := card.problem():
                return problem
        try:
            self.config()
        except ConfigError as error:
            return str(error)
        return ""

    @property
    def pending(self) -> bool:
        """Whether the model or the data is still being looked at."""
        return any(card.pending for card in self.cards)

    def probe_precisions(self) -> None:
        """Try every precision with the configuration as it stands, and offer the best."""
        problem = self._probe_problem()
        if problem:
            self._context.message.emit(problem)
            return
        from studio.ui.dialogs.precision_probe import PrecisionProbe

        self._open(PrecisionProbe(self._context, self.config(), self), self.precision)

    def _probe_problem(self) -> str:
        """Why the precisions cannot be compared now, in a sentence, or nothing."""
        if self._context.controller.running:
            return tr("A run is training and would be in the way of the figures; compare when it has ended.")
        return self.start_problem()

    def compare_methods(self) -> None:
        """Show what every method amounts to for the model, and take the one that the user chooses."""
        info = self.model.info
        config, refusal = self._provisional()
        if info is None or config is None:
            self._context.message.emit(refusal or tr("Choose a model first."))
            return
        from studio.ui.dialogs.method_comparison import MethodComparison

        self._open(MethodComparison(self._context, info, config, self.method.tables(), self), self.method)

    def choose_preset(self) -> None:
        """Offer settings for a goal, and show the ones that the user takes."""
        from studio.ui.dialogs.presets import PresetsDialog

        found = self.model.found
        template = None if found is None else "" if found.has_template else found.recommended_template
        dialog = PresetsDialog(self.tables(), template, self)
        dialog.taken.connect(self._take_preset)
        open_dialog(dialog)

    def _take_preset(self, tables: dict[str, Any], title: str) -> None:
        self.replace(tables, tr("take the preset {title}").format(title=title))

    def _open(self, dialog: ComparisonDialog, card: MethodCard | PrecisionCard) -> None:
        """Open a comparison; the card gets the choice that is taken."""
        dialog.taken.connect(card.take)
        open_dialog(dialog)

    def drop_questions(self) -> None:
        """No longer want an answer to anything that was asked in the background."""
        for job in self.findChildren(Job):
            job.drop()

    def save_configuration(self) -> Path | None:
        """Ask for a file and write the configuration to it; return where it was written."""
        try:
            text = write_config(self.config())
        except ConfigError as error:
            self._context.message.emit(str(error))
            return None
        path, _ = QFileDialog.getSaveFileName(self, tr("Save configuration"), "config.toml", TOML)
        return Path(path) if path and self._write(Path(path), text) else None

    def open_configuration(self) -> None:
        """Ask for a configuration file and show it."""
        path, _ = QFileDialog.getOpenFileName(self, tr("Open configuration"), "", f"{TOML};;{tr('All files')} (*)")
        if path:
            self.load_configuration(Path(path))

    def load_configuration(self, path: Path) -> None:
        """Show a configuration file, such as that of an earlier run."""
        try:
            config = read_config(path)
        except StudioError as error:
            self._context.message.emit(str(error))
        else:
            self.replace(config.model_dump(mode="json", exclude_none=True), tr("take {file}").format(file=path.name))

    def _write(self, path: Path, text: str) -> bool:
        try:
            write_atomically(path, text)
        except OSError as error:
            words = tr("The configuration cannot be written to {path}: {reason}.")
            self._context.message.emit(words.format(path=path, reason=error.strerror))
            return False
        return True

    def _lay_out(self) -> None:
        self._column = column = QWidget()
        vbox(*self.cards, STRETCH, spacing=2, margins=(0, 0, 1, 3), parent=column)
        self.area = scrolled(column, tr("Setup"))
        self.outline = Outline(self.cards)
        self.outline.setFixedWidth(theme.characters(34))
        self.outline.chosen.connect(self._reveal)
        below = hbox((self.area, 1), (self.outline, 0, Qt.AlignmentFlag.AlignTop), spacing=3)
        inside = QWidget()
        inside.setMaximumWidth(theme.characters(WIDEST))
        vbox(self._header(), self.notice, (below, 1), spacing=2, parent=inside)
        vbox(inside, margins=(3, 2.5, 2, 0), parent=self)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave the room to the cards where a large font or a small window has too little for more.

        What the buttons do stands in the File menu, too.
        """
        super().resizeEvent(event)
        for part in (self.outline, self.opening, self.saving):
            part.setVisible(self.width() >= theme.characters(LEAST_WITH_OUTLINE))

    def _header(self) -> QHBoxLayout:
        sentence = tr("A model and a dataset are enough to start.")
        words = vbox(label(tr("New run"), "title"), ElidedLabel(sentence, "muted"), spacing=0.25)
        self.enqueue = push_button(
            tr("Add to the queue"), "quiet", "add", tr("Train this configuration after the runs before it")
        )
        self.enqueue.clicked.connect(self.enqueue_requested)
        self.presets = push_button(
            tr("Presets …"), "quiet", "setup", tr("Settings for a goal: quick look, style, knowledge, classification …")
        )
        self.presets.clicked.connect(self.choose_preset)
        self.opening = push_button(tr("Open configuration …"), "quiet", "folder")
        self.opening.clicked.connect(self.open_configuration)
        self.saving = push_button(tr("Save configuration …"), "quiet", "save")
        self.saving.clicked.connect(self.save_configuration)
        return hbox((words, 1), self.presets, self.enqueue, self.opening, self.saving)

    def _connect(self) -> None:
        for card in self.cards:
            card.changed.connect(self._ask)
            card.changed.connect(self._settle_soon)
            card.judged.connect(self._settle_soon)
        self._estimate.finished.connect(self._show_estimate)
        self._estimate.failed.connect(lambda sentence: self._show_estimate(None, sentence))
        self._explain.finished.connect(lambda answer: self.precision.show_choice(*answer))
        self._recall.finished.connect(self._show_speed)
        self._recall.failed.connect(lambda _: self._show_speed(None))
        self._explain.failed.connect(self.precision.show_problem)
        self._look.finished.connect(lambda found: self.notice.show_cards(found.unused))
        self._look.finished.connect(lambda found: self.training.show_gpus(found.gpus))
        self.model.info_changed.connect(self._model_changed)
        self.data.misfit.chosen.connect(self.model.take)
        self.method.chosen.connect(self.training.suggest_for)
        self.training.memory.remedy_chosen.connect(self._apply_remedy)
        self.method.compare.clicked.connect(self.compare_methods)
        self.precision.probe.clicked.connect(self.probe_precisions)
        self._context.run_state_changed.connect(self._settle_soon)
        self._context.progressed.connect(self._show_measured)
        theme.application().focusChanged.connect(self._follow_focus)
        # Signs and Start follow once per turn of the event loop, however many cards changed in it.
        self._soon = QTimer(self, singleShot=True)
        self._soon.timeout.connect(self._settle)

    def _model_changed(self) -> None:
        info = self.model.info
        self.data.set_model(info, self.model.found)
        self.method.offer(actions.suggestions(info) if info else {})

    def _settle_soon(self) -> None:
        self._soon.start(0)

    def _settle(self) -> None:
        self.keep_draft()
        self.outline.refresh()
        self._share_mnemonics()
        self.training.judge_rate(self.method.method)
        self._show_forecast()
        self.precision.allow_probe(self._probe_problem())
        self.method.allow_comparison(self._provisional()[1] if self.model.info else tr("Choose a model first."))
        self.changed.emit()

    def _share_mnemonics(self) -> None:
        forms = [form for form in self.findChildren(Form) if not form.isHidden()]
        rows = [row for form in forms for row in form.rows.values() if not row.isHidden()]
        share_mnemonics(rows, menu_letters())

    def _follow_focus(self, _before: QWidget | None, now: QWidget | None) -> None:
        """Scroll to the control that has got the keyboard focus, unless a press of the mouse has given it.

        The control would move away from under the pointer, and the release would not be a click any more.
        """
        if now is not None and self._column.isAncestorOf(now) and not QGuiApplication.mouseButtons():
            self.area.ensureWidgetVisible(now, 0, theme.space(3))

    def _reveal(self, card: SectionCard) -> None:
        self.area.verticalScrollBar().setValue(card.y())
        card.setFocus()
        self.area.focusNextPrevChild(True)

    def _ask(self) -> None:
        """Have memory and precision judged anew, as soon as there is a model and its tables are right."""
        self._explain.drop()
        self._estimate.drop()
        info = self.model.info
        config, refusal = self._provisional()
        self.method.refuse(_unsuited(info, config) if info and config else "")
        if info is None or config is None:
            self._show_estimate(None, refusal if refusal.startswith("method.") else "")
            self.precision.show_choice("", "")
            if refusal.startswith("precision."):
                self.precision.show_problem(refusal)
            return
        self._explain.start_soon(lambda _: actions.explain_precision(config, info))
        if self.method.problem():
            self._show_estimate(None)
        else:
            processes = self.training.processes
            self._estimate.start_soon(lambda _: actions.estimate(info, config, processes=processes))

    def _provisional(self) -> tuple[RunConfig | None, str]:
        """The configuration with a stand-in for data that is not chosen yet: neither verdict depends on it."""
        tables = self.tables()
        tables["data"]["sources"] = tables["data"]["sources"] or [{"path": "-"}]
        try:
            return parse_config(tables), ""
        except ConfigError as error:
            return None, str(error)

    def _apply_remedy(self, remedy: Remedy) -> None:
        """Set the options of a remedy, and show the card that says whether it fits now.

        Another method comes with its own options and learning rate.
        """
        before, overrides = self.tables(), dict(remedy.overrides)
        if method := overrides.pop("method.name", None):
            self.method.set_values({"name": method})
        after = with_options(self.tables(), overrides)
        self.undo.push(ReplaceTables(self.set_tables, before, after, tr("save memory")))
        self._reveal(self.training)

    def _show_forecast(self) -> None:
        """Say what the configuration amounts to with the rows that were counted, as far as both are known."""
        config, inspections = self._provisional()[0], self.data.inspections
        found = actions.forecast(config, inspections) if config and inspections else None
        self.data.show_forecast(found, config)
        self.training.outlook.show_forecast(found, self._speed)

    def _show_speed(self, speed: MeasuredSpeed | None) -> None:
        self._speed = speed
        self._settle_soon()

    def _show_measured(self) -> None:
        live = self._context.live
        self.training.memory.show_measured(live.state.memory if live else None)

    def _show_estimate(self, estimate: Estimate | None, problem: str = "") -> None:
        self.method.show_estimate(estimate, problem)
        self.training.show_estimate(estimate)
        info, config, root = self.model.info, self._provisional()[0], self._context.settings.runs_root
        if info and config and estimate:
            self._recall.start(lambda _: actions.measured_speed(root, info, config, estimate))
        else:
            self._show_speed(None)


def _unsuited(info: ModelInfo, config: RunConfig) -> str:
    """Why the method with its options cannot be used on the model, in a sentence, or nothing."""
    try:
        actions.check_method(info, config)
    except StudioError as error:
        return str(error)
    return ""
