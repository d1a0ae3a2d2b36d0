"""The Model card: which model to start from, what kind it is, and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QLineEdit, QMenu, QWidget

from studio.config import ModelConfig
from studio.config.model import plain_model
from studio.i18n import tr
from studio.runner import actions
from studio.text.numbers import count_text, size_text
from studio.ui.bridge import AppContext
from studio.ui.forms.form import Form
from studio.ui.job import Job
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo


class ModelCard(SectionCard):
    """`info_changed` is emitted when another model, or another kind, is known or no longer known."""

    info_changed = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__("model", tr("Model"), parent)
        self._context = context
        self._found: ModelInfo | None = None
        self._error = ""
        self._check = Job(self, context, tr("Checking the model"))
        self._starter = Job(self, context, tr("Getting the starter model"))
        self._build()
        self._check.finished.connect(self._show_info)
        self._starter.finished.connect(lambda folder: self._choose(str(folder)))
        for job in (self._check, self._starter):
            job.failed.connect(self._show_error)
            job.progressed.connect(self._progress.report)

    @property
    def info(self) -> ModelInfo | None:
        """What is known of the model, with the kind that the user chose; None while nothing is."""
        kind = self._kind.values()["kind"]
        return self._found if self._found is None or kind == "auto" else replace(self._found, kind=kind)

    def values(self) -> dict[str, Any]:
        return {"path": plain_model(self.path.text()), **self._kind.values()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self._kind.set_values(values)
        self.path.setText(str(values.get("path", "")))
        self.accept()

    def problem(self) -> str:
        if not self.path.text().strip():
            return tr("Choose a model first.")
        if self._check.running or self._starter.running:
            return tr("The model is being checked.")
        if self._found is None:
            return self._error or tr("Press Enter in the Model field to get the model from the hub.")
        return ""

    def accept(self) -> None:
        """Look at the model in the field, and get it from the hub if it is not a folder here.

        A pasted address of the hub becomes the model's id.
        """
        wanted = plain_model(self.path.text())
        self.path.setText(wanted)
        self._forget()
        if wanted:
            self._check.start(lambda progress: actions.open_model(wanted, progress))
            self.judge("", tr("Checking the model …"), "busy")
        self._show_state()

    def get_starter(self) -> None:
        """Fetch the starter model and choose it."""
        self._forget()
        self.judge("", tr("Getting the starter model …"), "busy")
        self._starter.start(actions.fetch_starter)
        self._show_state()

    def _build(self) -> None:
        self.path = QLineEdit()
        self.path.setPlaceholderText(tr("A model folder, or a hub id such as HuggingFaceTB/SmolLM2-135M-Instruct"))
        self.path.setAccessibleName(tr("Model folder or hub id"))
        self.path.textEdited.connect(self._typed)
        self.path.returnPressed.connect(self.accept)
        self._kind = Form(ModelConfig, keys={"kind"})
        self._kind.changed.connect(self._kind_changed)
        self._progress = TaskProgress()
        self._progress.cancelled.connect(self._cancel)
        self._reasons = label("", "caption", wrap=True)
        self.body.addLayout(self._choosing_row())
        self.body.addWidget(self._progress)
        self.body.addWidget(self._starter_offer())
        self.body.addWidget(self._reasons)
        self.body.addWidget(self._kind)
        self._show_state()

    def _choosing_row(self) -> QHBoxLayout:
        self._fetch = push_button(tr("Get from hub"), icon="download")
        self._fetch.clicked.connect(self.accept)
        browse = push_button(tr("Browse …"), icon="folder")
        browse.clicked.connect(self._browse)
        recent = push_button(tr("Recent"))
        recent.setProperty("menu", True)
        menu = QMenu(recent)
        menu.aboutToShow.connect(lambda: self._fill_recent(menu))
        recent.setMenu(menu)
        return hbox((self.path, 1), self._fetch, browse, recent, spacing=1)

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

    def _fill_recent(self, menu: QMenu) -> None:
        menu.clear()
        for entry in self._context.settings.recent_models:
            menu.addAction(entry.replace("&", "&&"), partial(self._choose, entry))
        menu.addSeparator()
        menu.addAction(tr("Starter model"), self.get_starter)

    def _choose(self, path_or_id: str) -> None:
        self.set_values({"path": path_or_id})

    def _browse(self) -> None:
        start = self.path.text() if Path(self.path.text()).is_dir() else str(Path.home())
        folder = QFileDialog.getExistingDirectory(self, tr("Choose a model folder"), start)
        if folder:
            self._choose(folder)

    def _typed(self) -> None:
        """Check a folder while it is typed. A hub id is checked on Enter: only the user knows when it is complete."""
        wanted = plain_model(self.path.text())
        self._forget()
        if wanted and Path(wanted).expanduser().is_dir():
            self._check.start_soon(lambda progress: actions.open_model(wanted, progress))
            self.judge("", tr("Checking the model …"), "busy")
        self._show_state()

    def _forget(self) -> None:
        self._check.drop()
        self._starter.drop()
        self._found, self._error = None, ""
        self._progress.hide()
        self.judge("", "", "none")
        self.changed.emit()
        self.info_changed.emit()

    def _cancel(self) -> None:
        self._forget()
        self._show_state()

    def _kind_changed(self) -> None:
        if self._found is not None:
            self._judge_found()
        self.changed.emit()
        self.info_changed.emit()

    def _show_error(self, sentence: str) -> None:
        self._error = sentence
        self._progress.hide()
        self.judge("", sentence, "bad")
        self._show_state()
        self.changed.emit()

    def _show_info(self, info: ModelInfo) -> None:
        self._found = info
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
        if info.problems:
            self.judge(summary, info.problems[0], "warning")
        else:
            self.judge(summary, _kind_words(info), "good")
        self._reasons.setText("\n".join(f"• {line}" for line in (*info.problems[1:], *info.reasons)))

    def _show_state(self) -> None:
        text = self.path.text().strip()
        self._offer.setVisible(not text and not self._starter.running)
        self._fetch.setVisible(bool(text) and self._found is None and not Path(text).expanduser().exists())
        self._reasons.setVisible(self._found is not None and bool(self._reasons.text()))


def _kind_words(info: ModelInfo) -> str:
    if info.kind == "chat":
        return tr("Chat model, template found") if info.has_template else tr("Chat model, but it has no template")
    return tr("Base model, continues plain text")
