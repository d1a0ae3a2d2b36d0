"""Chooses a run folder: typed, or picked from the runs that are there."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu

from studio.config import OptionSpec
from studio.i18n import tr
from studio.ui.bridge import AppContext
from studio.ui.forms.editors import TextEditor
from studio.ui.job import Job
from studio.ui.models.run_summary import RunSummary, method_title, read_summaries, when_text
from studio.ui.override import override
from studio.ui.widgets.buttons import push_button

MOST = 20


class RunEditor(TextEditor):
    """A line for the folder, and a menu of the newest runs that have trained something."""

    def __init__(self, context: AppContext, spec: OptionSpec) -> None:
        super().__init__(spec)
        self._context = context
        self._reading = Job(self, context, tr("Reading the runs"))
        self._reading.finished.connect(self._offer_runs)
        self.line.setPlaceholderText(tr("A fresh start"))
        self.choose = push_button(tr("Choose …"), tooltip=tr("Choose among the runs that are there"))
        self.choose.setAccessibleName(tr("Choose a run to start from"))
        self.choose.clicked.connect(self._read)
        self._row.addWidget(self.choose)

    @override
    def describe(self, name: str, description: str) -> None:
        super().describe(name, description)
        self.line.setToolTip(tr("Empty: training begins afresh"))

    def _read(self) -> None:
        root = self._context.runs_root
        self.choose.setEnabled(False)
        self._reading.start(lambda progress: read_summaries(root, progress))

    def _offer_runs(self, runs: list[RunSummary]) -> None:
        self.choose.setEnabled(True)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self.line.text():
            menu.addAction(tr("A fresh start")).triggered.connect(lambda: self.set_value(""))
            menu.addSeparator()
        for run in [run for run in runs if run.can_go_on][:MOST]:
            words = " · ".join(part for part in (when_text(run.created), run.model, method_title(run.method)) if part)
            action = menu.addAction(words.replace("&", "&&"))
            action.triggered.connect(lambda _=False, path=str(run.folder.path): self.set_value(path))
        if menu.isEmpty():
            menu.addAction(tr("There is no run yet that has ended")).setEnabled(False)
        menu.popup(self.choose.mapToGlobal(self.choose.rect().bottomLeft()))
