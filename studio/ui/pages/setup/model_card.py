"""The Model card: which model to start from, what kind it is, and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QLineEdit, QMenu, QWidget

from studio.config import ModelConfig
from studio.config.model import plain_model
from studio.config.run import with_options
from studio.engine.models.info import treated_as
from studio.i18n import tr
from studio.runner import actions
from studio.runner.advice import Misfit, misfit_of_model
from studio.text.advice import misfit_text, template_title
from studio.text.numbers import count_text, size_text
from studio.ui.bridge import AppContext
from studio.ui.forms.form import Form
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.pages.setup.advisor import Advisor
from studio.ui.pages.setup.remedy_line import RemedyLine
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.inference.behaviour import Behaviour
    from studio.engine.models.info import ModelInfo


class ModelCard(SectionCard):
    """`info_changed` is emitted when another model, or another kind, is known or no longer known."""

    info_changed = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__("model", tr("Model"), parent)
        self._context = context
        self._found: ModelInfo | None = None
        self._error = ""
        self._behaviour: Behaviour | None = None
        self._path_kind: actions.PathKind | None = None
        # A folder on a drive that no longer answers must not hold the window: what stands there is asked in a task.
        self._find = Job(self, context, tr("Looking for the model"))
        self._check = Job(self, context, tr("Checking the model"))
        self._starter = Job(self, context, tr("Getting the starter model"))
        self._try = Job(self, context, tr("Trying how the model behaves"))
        self._build()
        self._find.finished.connect(self._show_kind_of_path)
        self._find.failed.connect(self._show_error)
        self._check.finished.connect(self._show_info)
        self._starter.finished.connect(lambda folder: self.choose(str(folder)))
        for job in (self._check, self._starter):
            job.failed.connect(self._show_error)
            job.progressed.connect(self._progress.report)
        self._try.finished.connect(self._show_behaviour)
        self._try.failed.connect(self._show_no_behaviour)
        self._try.cancelled.connect(lambda: self._show_no_behaviour(""))
        self._try.progressed.connect(self._trying.report)

    @property
    def found(self) -> ModelInfo | None:
        """What the files of the model say; None while nothing is known."""
        return self._found

    @property
    def info(self) -> ModelInfo | None:
        """What is known of the model, treated as the user chose; None while nothing is known."""
        return self._found and treated_as(self._found, ModelConfig(path="-", **self._chosen()))

    def values(self) -> dict[str, Any]:
        return {"path": plain_model(self.path.text()), **self._chosen()}

    def _chosen(self) -> dict[str, Any]:
        """Kind and template; a template has no meaning for a Base model, and is not offered for it."""
        values = self._kind.values()
        return values if values["kind"] != "base" else {"kind": "base"}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self._kind.set_values(values)
        self.path.setText(str(values.get("path", "")))
        self.accept()

    def problem(self) -> str:
        if not self.path.text().strip():
            return tr("Choose a model first.")
        if self.pending:
            return tr("The model is being checked.")
        if self._found is None and self._path_kind == "nothing" and not self._error:
            return tr("There is no model at {path}; choose another.").format(path=self.path.text().strip())
        if self._found is None:
            return self._error or tr("Press Enter in the Model field to get the model from the hub.")
        misfit = self._misfit()
        return misfit_text(misfit.code, misfit.values) if misfit and misfit.fatal else ""

    @property
    @override
    def pending(self) -> bool:
        return self._found is None and any(job.running for job in (self._find, self._check, self._starter))

    def accept(self) -> None:
        """Look at the model in the field, and get it from the hub if it is not a folder here.

        A pasted address of the hub becomes the model's id.
        """
        wanted = plain_model(self.path.text())
        self.path.setText(wanted)
        self._forget()
        if wanted:
            self._find.start(lambda _: actions.path_kind(wanted))
            self._look(wanted)
        self._show_state()

    def get_starter(self) -> None:
        """Fetch the starter model and choose it."""
        self._forget()
        self.judge("", tr("Getting the starter model …"), "busy")
        self._starter.start(actions.fetch_starter)
        self._show_state()

    def find_on_hub(self) -> None:
        """Let the user search the hub, and choose what was downloaded."""
        from studio.ui.dialogs.hub.search import FindOnHub

        dialog = FindOnHub(self._context, "model", self)
        dialog.taken.connect(self.choose)
        open_dialog(dialog)

    def take(self, options: Mapping[str, str]) -> None:
        """Treat the model otherwise: options of `[model]` by dotted key."""
        self._kind.set_values(with_options({"model": self._kind.values()}, options)["model"])
        self._kind_changed()

    def try_behaviour(self) -> None:
        """Load the model and try how it behaves."""
        info = self.info
        if self._context.controller.running:
            self._context.message.emit(tr("A run is training and needs the memory; try the model when it has ended."))
        elif info is not None:
            self._try.start(lambda progress: actions.try_model(info, progress))
            self._trying.report("loading_model", 0, 0)
            self.try_button.setEnabled(False)

    def _build(self) -> None:
        self.path = QLineEdit()
        self.path.setPlaceholderText(tr("A model folder, or a hub id such as HuggingFaceTB/SmolLM2-135M-Instruct"))
        self.path.setAccessibleName(tr("Model folder or hub id"))
        self.path.textEdited.connect(self._typed)
        self.path.returnPressed.connect(self.accept)
        self._kind = Form(ModelConfig, keys={"kind", "chat_template"})
        self._kind.changed.connect(self._kind_changed)
        self.advisor = Advisor()
        self.advisor.taken.connect(self.take)
        self.remedies = RemedyLine()
        self.remedies.chosen.connect(self.take)
        self._progress = TaskProgress()
        self._progress.cancelled.connect(self._cancel)
        self._reasons = label("", "caption", wrap=True)
        self.body.addLayout(self._choosing_row())
        self.body.addWidget(self._progress)
        self.body.addWidget(self._starter_offer())
        self.body.addWidget(self._reasons)
        self.body.addWidget(self._try_offer())
        self.body.addWidget(self.remedies)
        self.body.addWidget(self._kind)
        self.body.addWidget(self.advisor)
        self._show_state()

    def _choosing_row(self) -> QHBoxLayout:
        self._fetch = push_button(tr("Get from hub"), icon="download")
        self._fetch.clicked.connect(self.accept)
        self.search_button = push_button(
            tr("Find …"), icon="search", tooltip=tr("Search the hub for a model, and see what fits")
        )
        self.search_button.clicked.connect(self.find_on_hub)
        browse = push_button(tr("Browse …"), icon="folder")
        browse.clicked.connect(self._browse)
        recent = push_button(tr("Recent"))
        recent.setProperty("menu", True)
        menu = QMenu(recent)
        menu.aboutToShow.connect(lambda: self._fill_recent(menu))
        recent.setMenu(menu)
        return hbox((self.path, 1), self._fetch, self.search_button, browse, recent, spacing=1)

    def _starter_offer(self) -> QFrame:
        self._offer = QFrame()
        self._offer.setProperty("kind", "inset")
        sentence = tr("The starter model, SmolLM2-135M-Instruct, is small enough to be trained on any computer.")
        heading = label(tr("No model at hand?"), "value")
        words = vbox(heading, label(sentence, "caption", wrap=True), spacing=0.25)
        get = push_button(tr("Get the starter model"), icon="download")
        get.clicked.connect(self.get_starter)
        hbox((words, 1), get, margins=(1.5, 1.25, 1.5, 1.25), parent=self._offer)
        return self._offer

    def _try_offer(self) -> QWidget:
        self._trial = QWidget()
        self.try_button = push_button(tr("Try how it behaves"), "quiet", "play")
        self.try_button.clicked.connect(self.try_behaviour)
        hint = label(
            tr("Loads the model, asks it two questions and lets it continue two texts, in English and Chinese."),
            "caption",
            wrap=True,
        )
        self._trying = TaskProgress()
        self._trying.cancelled.connect(self._try.cancel)
        self._trial_error = label("", "error", wrap=True)
        self._trial_error.hide()
        offer = hbox(self.try_button, (hint, 1), spacing=1)
        vbox(offer, self._trying, self._trial_error, spacing=0.5, parent=self._trial)
        return self._trial

    def _fill_recent(self, menu: QMenu) -> None:
        menu.clear()
        for entry in self._context.settings.recent_models:
            menu.addAction(entry.replace("&", "&&"), partial(self.choose, entry))
        menu.addSeparator()
        menu.addAction(tr("Starter model"), self.get_starter)

    def choose(self, path_or_id: str) -> None:
        """Take another model, by folder or hub id."""
        self.set_values({"path": path_or_id})

    def _browse(self) -> None:
        start = self.path.text() if self._path_kind == "folder" else str(Path.home())
        folder = QFileDialog.getExistingDirectory(self, tr("Choose a model folder"), start)
        if folder:
            self.choose(folder)

    def _typed(self) -> None:
        """Check a folder while it is typed. A hub id is checked on Enter: only the user knows when it is complete."""
        wanted = plain_model(self.path.text())
        self._forget()
        if wanted:
            self._find.start_soon(lambda _: actions.path_kind(wanted))
        self._show_state()

    def _show_kind_of_path(self, kind: actions.PathKind) -> None:
        self._path_kind = kind
        if kind == "folder" and not self._check.running and self._found is None and not self._error:
            self._look(plain_model(self.path.text()))
        self._show_state()
        self.changed.emit()

    def _look(self, wanted: str) -> None:
        self._check.start(lambda progress: actions.open_model(wanted, progress))
        self.judge("", tr("Checking the model …"), "busy")

    def _forget(self) -> None:
        self._find.drop()
        self._check.drop()
        self._starter.drop()
        self._try.drop()
        self._found, self._path_kind, self._error, self._behaviour = None, None, "", None
        self.advisor.set_model(None)
        self._progress.hide()
        self._show_no_behaviour("")
        self.judge("", "", "none")
        self.changed.emit()
        self.info_changed.emit()

    def _cancel(self) -> None:
        self._forget()
        self._show_state()

    def _kind_changed(self) -> None:
        if self._found is not None:
            self._judge_found()
        self._show_state()
        self.changed.emit()
        self.info_changed.emit()

    def _show_behaviour(self, behaviour: Behaviour) -> None:
        self._show_no_behaviour("")
        self._behaviour = behaviour
        self._judge_found()
        self._show_state()

    def _show_no_behaviour(self, sentence: str) -> None:
        self._trying.hide()
        self.try_button.setEnabled(True)
        self._trial_error.setText(sentence)
        self._trial_error.setVisible(bool(sentence))

    def _misfit(self) -> Misfit | None:
        """What does not fit: the choice and the files, or else the choice and how the model behaved."""
        info = self.info
        if self._found is None or info is None:
            return None
        misfit = misfit_of_model(self._found, info)
        like = self._behaviour.like if self._behaviour and not info.chat_template else None
        if misfit is None and like is not None and like != info.kind:
            return Misfit(f"behaves_like_{like}", {}, ((f"treat_as_{like}", {"model.kind": like}),))
        return misfit

    def _show_error(self, sentence: str) -> None:
        self._error = sentence
        self._progress.hide()
        self.judge("", sentence, "bad")
        self._show_state()
        self.changed.emit()

    def _show_info(self, info: ModelInfo) -> None:
        self._found = info
        self.advisor.set_model(info)
        self._progress.hide()
        self._context.settings.remember_model(self.path.text().strip())
        self._judge_found()
        self._show_state()
        self.changed.emit()
        self.info_changed.emit()

    def _judge_found(self) -> None:
        info = self.info
        assert info is not None
        facts = [info.name, tr("{count} parameters").format(count=count_text(info.parameters))]
        facts += [tr("{size} in {dtype}").format(size=size_text(info.bytes), dtype=info.dtype)]
        summary = " · ".join(facts)
        misfit = self._misfit()
        self.remedies.show_misfit(misfit, said=misfit is not None and misfit.fatal)
        if misfit is not None and misfit.fatal:
            self.judge(summary, misfit_text(misfit.code, misfit.values), "bad")
        elif info.problems:
            self.judge(summary, info.problems[0], "warning")
        else:
            self.judge(summary, _kind_words(info), "good")
        findings = [finding.words() for finding in self._behaviour.findings] if self._behaviour else []
        self._reasons.setText("\n".join(f"• {line}" for line in (*info.problems[1:], *info.reasons, *findings)))

    def _show_state(self) -> None:
        text = self.path.text().strip()
        self._offer.setVisible(not text and not self._starter.running)
        self._fetch.setVisible(bool(text) and self._found is None and self._path_kind == "hub")
        known = self._found is not None
        self._reasons.setVisible(known and bool(self._reasons.text()))
        self._trial.setVisible(known)
        self.remedies.setVisible(known and self._misfit() is not None)
        chosen = self._chosen()
        lacking = self._found is not None and chosen["kind"] == "chat" and not self._found.has_template
        self._kind.rows["chat_template"].setVisible(lacking or bool(chosen.get("chat_template")))


def _kind_words(info: ModelInfo) -> str:
    if info.chat_template:
        words = tr("Base model that learns dialogue, template {name}")
        return words.format(name=template_title(info.chat_template))
    if info.kind == "chat":
        return tr("Chat model, template found") if info.has_template else tr("Chat model, but it has no template")
    return tr("Base model, continues plain text")
