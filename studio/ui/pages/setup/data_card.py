"""The Data card: what to learn from, what to rehearse, and how the rows are prepared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from studio.config import DataConfig, RunConfig
from studio.config.data import RENDERING
from studio.engine.data.formats import FORMATS
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr, trn
from studio.paths import resource
from studio.runner.advice import Misfit, misfit_of_data, misfit_of_system
from studio.runner.forecast_words import mixing_text, share_of_general_text, source_text, validation_text
from studio.text.data import listed
from studio.ui.bridge import AppContext
from studio.ui.forms.editors import ShareEditor
from studio.ui.forms.form import EditorFactory, Form
from studio.ui.override import override
from studio.ui.pages.setup.changes import RemoveSource
from studio.ui.pages.setup.prompt_template_editor import PromptTemplateEditor
from studio.ui.pages.setup.remedy_line import RemedyLine
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.pages.setup.source_editor import SourceEditor
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.drop_area import DropArea
from studio.ui.widgets.layout import hbox, vbox

if TYPE_CHECKING:
    from studio.engine.data.findings.base import Remedy
    from studio.engine.data.inspect import DataInspection
    from studio.engine.models.info import ModelInfo
    from studio.runner.forecast_words import Forecast

SAMPLES = {
    "fine-tuning-en.jsonl": gettext_noop("Fine-tuning, questions and answers (English)"),
    "fine-tuning-zh.jsonl": gettext_noop("Fine-tuning, questions and answers (Chinese)"),
    "general-en.jsonl": gettext_noop("General questions, for rehearsal (English)"),
    "general-zh.jsonl": gettext_noop("General questions, for rehearsal (Chinese)"),
}


class DataCard(SectionCard):
    """Holds the list of sources and the options of `[data]`. What a user removes can be brought back by `undo`."""

    def __init__(self, context: AppContext, undo: QUndoStack, parent: QWidget | None = None) -> None:
        super().__init__("data", tr("Data"), parent)
        self._context = context
        self._undo = undo
        self._model: ModelInfo | None = None
        self._found: ModelInfo | None = None
        self.sources: list[SourceEditor] = []
        self._rendering: tuple[Any, ...] = ()
        self._seed = 0
        editors: dict[str, EditorFactory] = {"replay_ratio": ShareEditor, "validation_fraction": ShareEditor}
        self.form = Form(DataConfig, editors=editors | {"prompt_template": PromptTemplateEditor})
        self.form.changed.connect(self._form_changed)
        self._list = vbox(spacing=1)
        self.misfit, self.system = RemedyLine(), RemedyLine()
        self.system.chosen.connect(self._take_options)
        self.drop_area = DropArea(
            tr("Drop dataset files here: JSON, JSONL, CSV, Parquet, YAML or text"), self._buttons()
        )
        self.drop_area.dropped.connect(self.add_files)
        self.body.addLayout(self._list)
        self.body.addWidget(self.misfit)
        self.body.addWidget(self.system)
        self.body.addWidget(self.drop_area)
        self.body.addWidget(self.form)
        self._show_state()

    def values(self) -> dict[str, Any]:
        return {"sources": [source.values() for source in self.sources], **self.form.values()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        for source in list(self.sources):
            self.remove(source.path)
        self.form.set_values(values)
        for source_values in values.get("sources", ()):
            self.add(source_values)

    def problem(self) -> str:
        if not self.sources:
            return tr("Add a dataset file first.")
        if unusable := self._unusable():
            return tr("{file} cannot be used yet; the Data card says why.").format(file=unusable)
        for source in self.sources:
            if source.problem:
                return source.problem
        if not any(source.role == "domain" for source in self.sources):
            return tr("Give at least one dataset file the role Domain: it is what the model learns.")
        taught = {source.role for source in self.sources if source.values()["weight"]}
        if "domain" not in taught:
            return tr("Every file of the role Domain has the weight 0; give one of them a larger weight.")
        if "general" not in taught and self.form.values()["replay_ratio"]:
            return tr("There are no general rows to rehearse: add a file, raise its weight, or set the share to 0.")
        if self.pending:
            return tr("The data is being read.")
        return self.form.problem()

    @property
    @override
    def pending(self) -> bool:
        return any(source.pending for source in self.sources)

    def _unusable(self) -> str:
        """The name of the first file that cannot be used, or nothing. Why stands with the file, and only there."""
        return next((Path(source.path).name for source in self.sources if source.error), "")

    def set_model(self, model: ModelInfo | None, found: ModelInfo | None = None) -> None:
        """Render the rows for another model, or for one that is treated otherwise than its files say (`found`)."""
        self._found = found
        if model != self._model:
            self._model = model
            self._inspect_all()
        self._show_state()

    def show_forecast(self, found: Forecast | None, config: RunConfig | None) -> None:
        """Say what every choice amounts to in rows and tokens, or nothing where that is not known."""
        rows = self.form.rows
        if config is not None and config.training.seed != self._seed:
            self._seed = config.training.seed  # other rows are held out, and others may leak
            self._inspect_all()
        if found is None or config is None:
            for source in self.sources:
                source.show_share("")
            for key in ("replay_ratio", "mixing", "validation_fraction"):
                rows[key].note.set("")
            return
        for source, table, given in zip(self.sources, config.data.sources, found.sources, strict=True):
            source.show_share(source_text(table, config.data, given))
        rows["replay_ratio"].note.set(share_of_general_text(found), "note")
        rows["mixing"].note.set(mixing_text(config.data, config.training.batch_size, found), "note")
        rows["validation_fraction"].note.set(validation_text(found), "note")

    @property
    def inspections(self) -> list[DataInspection]:
        """What was found in every source; empty as long as one of them is not known."""
        found = [source.inspection for source in self.sources if source.inspection is not None]
        return found if len(found) == len(self.sources) else []

    def add(self, values: Mapping[str, Any], place: int | None = None) -> None:
        """Add a dataset file, given by its table of `[[data.sources]]`, before the one at a place or at the end."""
        source = SourceEditor(self._context, values)
        source.changed.connect(lambda: self._source_changed(source))
        source.judged.connect(self._judge)
        source.removed.connect(lambda: self._remove(source))
        source.remedy_chosen.connect(self.take)
        place = len(self.sources) if place is None else min(place, len(self.sources))
        self.sources.insert(place, source)
        self._list.insertWidget(place, source)
        self._inspect(source)
        self._show_state()
        self.changed.emit()

    def remove(self, path: str) -> None:
        """Take a dataset file out, if it is there."""
        for source in [source for source in self.sources if source.path == path]:
            source.drop()
            self.sources.remove(source)
            self._list.removeWidget(source)
            source.hide()
            source.deleteLater()
        self._show_state()
        self.changed.emit()

    def add_files(self, paths: Iterable[str]) -> None:
        """Add dataset files as domain sources; one that is there already is not added twice."""
        for path in paths:
            if path not in {source.path for source in self.sources}:
                self.add({"path": path, "role": "domain"})

    def add_sample(self, name: str) -> None:
        """Add one of the datasets that ship with the app."""
        path = str(resource("samples", name))
        if path not in {source.path for source in self.sources}:
            self.add({"path": path, "role": "general" if name.startswith("general") else "domain"})

    def take(self, remedy: Remedy) -> None:
        """Change the options as the remedy of a finding says."""
        if (config := self._config()) is not None:
            self.form.set_values(remedy.apply(config).model_dump(mode="json"))
            self._form_changed()

    def _take_options(self, options: Mapping[str, Any]) -> None:
        """Change options, given by dotted key."""
        self.form.set_values(self.form.values() | {key.removeprefix("data."): value for key, value in options.items()})
        self._form_changed()

    def _buttons(self) -> QWidget:
        self.add_file = push_button(tr("Add file …"), icon="add")
        self.add_file.clicked.connect(self._browse)
        samples: QPushButton = push_button(tr("Sample data"))
        samples.setProperty("menu", True)
        menu = QMenu(samples)
        for name, title in SAMPLES.items():
            menu.addAction(tr(title), partial(self.add_sample, name))
        samples.setMenu(menu)
        holder = QWidget()
        hub = push_button(tr("From the hub …"), tooltip=tr("Download a dataset by its id, such as owner/name"))
        hub.clicked.connect(self.ask_hub)
        hbox(self.add_file, hub, samples, spacing=1, parent=holder)
        return holder

    def ask_hub(self) -> None:
        """Ask for a dataset of the hub and add it."""
        from studio.ui.dialogs.hub.dataset import HubDataset

        dialog = HubDataset(self._context, self)
        dialog.taken.connect(lambda source: self.add_files([source]))
        open_dialog(dialog)

    def _browse(self) -> None:
        kinds = tr("Datasets ({patterns})").format(
            patterns="*.json *.jsonl *.csv *.tsv *.parquet *.yml *.yaml *.txt *.md"
        )
        own = [folder for source in self.sources if (folder := Path(source.path).parent) != resource("samples")]
        start = str(own[-1] if own else Path.home())
        paths, _ = QFileDialog.getOpenFileNames(self, tr("Add dataset files"), start, f"{kinds};;{tr('All files')} (*)")
        self.add_files(paths)

    def _remove(self, source: SourceEditor) -> None:
        self._undo.push(RemoveSource(self.remove, self.add, source.values(), self.sources.index(source)))
        self.add_file.setFocus()  # on a line of text, Ctrl+Z would mean its letters

    def _source_changed(self, source: SourceEditor) -> None:
        if source.changed_for_reading:
            self._inspect(source)
        self._show_state()
        self.changed.emit()

    def _form_changed(self) -> None:
        values = self.form.values()
        rendering = tuple(values.get(key) for key in RENDERING)
        if rendering != self._rendering:
            self._rendering = rendering
            self._inspect_all()
        self._judge()
        self.changed.emit()

    def _inspect_all(self) -> None:
        for source in self.sources:
            self._inspect(source)

    def _inspect(self, source: SourceEditor) -> None:
        source.inspect(self._model, self._config(), self._seed)
        self._judge()

    def _config(self) -> DataConfig | None:
        """The options as far as they are right; with wrong ones the file is read with the defaults."""
        try:
            return DataConfig.model_validate(self.values())
        except (ValidationError, ConfigError):
            return None

    def _show_state(self) -> None:
        general = any(source.role == "general" for source in self.sources)
        reason = tr(
            "Add a file with the role General to rehearse it beside the new rows; it keeps old knowledge alive."
        )
        share = self.form.rows["replay_ratio"]
        share.set_enabled(general or share.editor.value() > 0, reason)  # a share without rows must be set back to 0
        for key in ("mixing", "block_rows"):
            self.form.rows[key].setVisible(general)
        self.form.setVisible(bool(self.sources))
        self._show_prompt_template()
        self._judge()

    def _show_prompt_template(self) -> None:
        """A Chat model has a template of its own; a prompt template that is set stays in sight, and out of use.

        Where its system text stands is only asked of a Chat model.
        """
        row = self.form.rows["prompt_template"]
        speaks = self._model is not None and self._model.kind == "chat"
        self.form.rows["system_turns"].setVisible(speaks)
        row.setVisible(not speaks or bool(row.editor.value()))
        row.set_enabled(not speaks, tr("Not used: a Chat model reads its rows through its own chat template."))
        if isinstance(row.editor, PromptTemplateEditor):
            row.editor.set_end((self._model and self._model.eos_token) or "")

    def _find_misfit(self) -> Misfit | None:
        """What does not fit between the model and the rows that it is to learn."""
        shapes = {
            FORMATS.get(source.inspection.format).shape
            for source in self.sources
            if source.inspection is not None and source.role == "domain"
        }
        if self._found is None or self._model is None or not shapes:
            return None
        return misfit_of_data(self._found, self._model, shapes)

    def _judge(self) -> None:
        misfit = self._find_misfit()
        self.misfit.show_misfit(misfit)
        known = [source.inspection for source in self.sources if source.inspection is not None]
        self.system.show_misfit(misfit_of_system(known))
        rows = sum(inspection.rows for inspection in known)
        skipped = sum(inspection.skipped for inspection in known)
        files = tr(", ").join(Path(source.path).name for source in self.sources)
        if not self.sources:
            self.judge("", "", "none")
        elif unusable := self._unusable():
            self.judge(files, tr("{file} cannot be used yet.").format(file=unusable), "bad")
        elif any(source.problem for source in self.sources):
            self.judge(files, self.problem(), "bad")
        elif self.pending:
            self.judge(files, tr("Reading the data …"), "busy")
        else:
            facts = [trn("{rows} row", "{rows} rows", rows).format(rows=f"{rows:,}")]
            if skipped:
                facts.append(tr("{skipped} skipped").format(skipped=f"{skipped:,}"))
            unused = [name for source in self.sources for name in source.unused_columns]
            if unused:
                facts.append(tr("not used: {columns}").format(columns=listed(unused)))
            if found := sum(len(inspection.findings) for inspection in known):
                facts.append(trn("{count} finding", "{count} findings", found).format(count=found))
            warned = misfit or any(source.needs_attention for source in self.sources)
            self.judge(files, " · ".join(facts), "warning" if warned else "good")
