"""The present configuration as commands for more than one GPU, to be copied into a terminal or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QVBoxLayout, QWidget

from studio.config import RunConfig
from studio.i18n import tr
from studio.runner.cluster import ClusterSize, cluster_commands
from studio.ui import theme
from studio.ui.dialogs.guide import offer_guide
from studio.ui.forms.form import Form
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class ClusterDialog(QDialog):
    """Shows a batch script and a torchrun line, which follow the size that is asked for.

    Args:
        save: asks where the configuration is to be saved, and returns where it was, or None.
    """

    def __init__(
        self, config: RunConfig, runs_root: Path, save: Callable[[], Path | None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("More than one GPU"))
        offer_guide(self, "runs", "elsewhere")
        self._config, self._runs_root, self._save = config, runs_root, save
        self._file = Path("config.toml")
        self.size_form = Form(ClusterSize)
        self.problem = Verdict()
        self.slurm, self.line = _text(tr("Slurm script")), _text(tr("torchrun line"))
        self.line.setFixedHeight(theme.space(7.5))
        self.line.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.copy_slurm = push_button(tr("Copy script"), "plain", "copy", tr("Put the script on the clipboard"))
        self.copy_line = push_button(tr("Copy line"), "plain", "copy", tr("Put the line on the clipboard"))
        self.save = push_button(
            tr("Save configuration …"), "quiet", "save", tr("The line names the file that is saved here")
        )
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        for button in (self.copy_slurm, self.copy_line, self.save):
            button.setAutoDefault(False)
        self.copy_slurm.clicked.connect(lambda: _copy(self.slurm))
        self.copy_line.clicked.connect(lambda: _copy(self.line))
        self.save.clicked.connect(self._save_file)
        self.leave.clicked.connect(self.accept)
        self.size_form.changed.connect(self.refresh)
        self._lay_out()
        self.refresh()

    def refresh(self) -> None:
        """Write the commands for the size as it stands."""
        problem = self.size_form.problem()
        self.problem.set(problem, "bad")
        for button in (self.copy_slurm, self.copy_line):
            button.setEnabled(not problem)
        if problem:
            return
        size = ClusterSize.model_validate(self.size_form.values())
        commands = cluster_commands(self._config, size, file=self._file, runs_root=self._runs_root)
        self.slurm.setPlainText(commands.slurm)
        self.line.setPlainText(commands.torchrun)

    def _save_file(self) -> None:
        if path := self._save():
            self._file = path
            self.refresh()

    def _lay_out(self) -> None:
        about = tr(
            "Every GPU reads its share of the rows. The losses are those of one GPU with the same rows per update. "
            "Each holds the model, or a part of it: full fine-tuning that does not fit is spread over all of them. The "
            "first process writes the run folder, which the Runs page shows like any other."
        )
        left = QWidget()
        left.setFixedWidth(theme.characters(42))
        vbox(self.size_form, self.problem, STRETCH, spacing=1, parent=left)
        right = vbox(
            _titled(tr("For a cluster: give this file to sbatch"), self.copy_slurm),
            (self.slurm, 1),
            _titled(tr("For one computer: give this line in a terminal"), self.save, self.copy_line),
            self.line,
            spacing=0.75,
        )
        vbox(
            label(tr("More than one GPU"), "title"),
            label(about, "muted", wrap=True),
            (hbox(left, (right, 1), spacing=3), 1),
            hbox(STRETCH, self.leave),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 150, 70)


def _titled(title: str, *buttons: QWidget) -> QVBoxLayout:
    return vbox(hbox((label(title, "caption"), 1), *buttons, spacing=1))


def _text(name: str) -> QPlainTextEdit:
    text = QPlainTextEdit(readOnly=True)
    text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    text.setTabChangesFocus(True)
    text.setAccessibleName(name)
    return text


def _copy(text: QPlainTextEdit) -> None:
    theme.application().clipboard().setText(text.toPlainText())
