"""Presets by goal: what each changes, before it is applied; and the user's own, saved, renamed and deleted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QAbstractItemView, QDialog, QListWidget, QListWidgetItem, QWidget

from studio.errors import StudioError
from studio.i18n import tr, trn
from studio.runner import presets
from studio.runner.presets import Preset
from studio.ui import theme
from studio.ui.dialogs.guide import offer_guide
from studio.ui.models.setting_changes import changes
from studio.ui.pages.runs.delete import ask
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.table import ComparisonTable
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

PRESET = Qt.ItemDataRole.UserRole


class PresetsDialog(QDialog):
    """`taken` carries the tables of the configuration with the preset laid over it, and the preset's title.

    Args:
        tables: the configuration as it stands on the Setup page.
        chat_template: see `apply_preset`.
    """

    taken = Signal(dict, str)

    def __init__(self, tables: Mapping[str, Any], chat_template: str | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Presets"))
        offer_guide(self, "setup", "presets")
        self._tables, self._template = tables, chat_template
        self._after: dict[str, Any] = {}
        self.list = QListWidget()
        self.list.setAccessibleName(tr("Presets"))
        self.list.setProperty("kind", "contents")
        self.list.setFixedWidth(theme.characters(36))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.name, self.about = label("", "heading"), label("", "muted", wrap=True)
        self.model = QStandardItemModel()
        self.model.setHorizontalHeaderLabels([tr("Setting"), tr("Now"), tr("With the preset")])
        self.table = ComparisonTable(self.model, tr("What the preset changes"), 0)
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.verticalHeader().setMinimumSectionSize(theme.space(3.5))
        self.verdict = Verdict()
        self.keep = push_button(
            tr("Save present settings"),
            "plain",
            "save",
            tr("Keep the settings of the Setup page as a preset of your own"),
        )
        self.rename = push_button(tr("Rename"), "plain", tooltip=tr("Give your preset another name (F2)"))
        self.delete = push_button(tr("Delete"), "danger", "remove", tr("Delete your preset (Delete)"))
        self.use = push_button(tr("Apply"), "primary", "check")
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self._connect()
        self._lay_out()
        self.fill("")

    def fill(self, chosen: str) -> None:
        """List all presets as they are now; `chosen` is the name of the own one to select, the first without one."""
        self.list.blockSignals(True)
        self.list.clear()
        for preset in (*presets.shipped_presets(), *presets.own_presets()):
            item = QListWidgetItem(preset.title, self.list)
            item.setData(PRESET, preset)
            item.setToolTip(tr("Your own") if preset.own else preset.about)
            if preset.own and not preset.problem:
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            if preset.own and preset.name == chosen:
                self.list.setCurrentItem(item)
        if self.list.currentItem() is None:
            self.list.setCurrentRow(0)
        self.list.blockSignals(False)
        self._show_chosen()

    @property
    def chosen(self) -> Preset:
        """The selected preset."""
        preset = self.list.currentItem().data(PRESET)
        assert isinstance(preset, Preset)
        return preset

    def _connect(self) -> None:
        for button in (self.keep, self.rename, self.delete, self.leave):
            button.setAutoDefault(False)
        self.use.setDefault(True)
        self.list.currentItemChanged.connect(lambda *_: self._show_chosen())
        self.list.itemChanged.connect(self._renamed)
        self.list.itemDoubleClicked.connect(lambda _: self._take())
        self.keep.clicked.connect(self._keep)
        self.rename.clicked.connect(lambda: self.list.editItem(self.list.currentItem()))
        self.delete.clicked.connect(self._delete)
        self.use.clicked.connect(self._take)
        self.leave.clicked.connect(self.reject)
        remove = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list, self.delete.click)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)

    def _show_chosen(self) -> None:
        preset = self.chosen
        self.name.setText(preset.title)
        self.about.setText(preset.about or tr("Settings that you have saved."))
        self.model.removeRows(0, self.model.rowCount())
        self._after = {} if preset.problem else presets.apply_preset(preset, self._tables, self._template)
        found = changes(self._tables, self._after) if self._after else []
        for one in found:
            cells = (f"{one.section}  ·  {one.setting}", one.old, one.new)
            items = [QStandardItem(cell) for cell in cells]
            for item in items:
                item.setEditable(False)
            self.model.appendRow(items)
        self.table.resizeRowsToContents()
        self.rename.setEnabled(preset.own and not preset.problem)
        self.delete.setEnabled(preset.own)
        reason = preset.problem or ("" if found else tr("The settings are those of this preset already."))
        self.use.setEnabled(not reason)
        self.use.setToolTip(reason or tr("Change these settings; Ctrl+Z takes it back"))
        if reason:
            self.verdict.set(reason, "bad" if preset.problem else "good")
        else:
            words = trn(
                "{n} setting changes; Ctrl+Z takes it back.", "{n} settings change; Ctrl+Z takes it back.", len(found)
            )
            self.verdict.set(words.format(n=len(found)), "note")

    def _take(self) -> None:
        if self.use.isEnabled():
            self.taken.emit(self._after, self.chosen.title)
            self.accept()

    def _keep(self) -> None:
        """Save the present settings under a name that is free, which the user can type over at once."""
        titles = {preset.title for preset in presets.own_presets()}
        first = tr("My preset")
        numbered = (first if n == 1 else f"{first} {n}" for n in range(1, len(titles) + 2))
        title = next(title for title in numbered if title not in titles)
        if self._change(lambda: presets.save_own(title, self._tables)):
            self.list.editItem(self.list.currentItem())

    def _renamed(self, item: QListWidgetItem) -> None:
        """Take the name that was typed in the list; one that cannot be gives way to the one before."""
        preset, problem = item.data(PRESET), ""
        try:
            preset = presets.rename_own(preset, item.text())
        except StudioError as error:
            problem = str(error)
        self.list.blockSignals(True)
        item.setText(preset.title)
        item.setData(PRESET, preset)
        self.list.blockSignals(False)
        self._show_chosen()
        if problem:
            self.verdict.set(problem, "bad")

    def _delete(self) -> None:
        preset = self.chosen
        heading = tr("Delete the preset {title}?").format(title=preset.title)
        if preset.own and ask(self, heading, tr("Runs that were made with it stay as they are."), tr("Delete")):
            self._change(lambda: presets.delete_own(preset))

    def _change(self, change: Callable[[], Preset | None]) -> bool:
        """Make a change of the user's presets and list them anew; return whether it worked, or say why not."""
        try:
            preset = change()
        except StudioError as error:
            self.verdict.set(str(error), "bad")
            return False
        self.fill(preset.name if preset else "")
        return True

    def _lay_out(self) -> None:
        sentence = tr("Settings for a goal. Model, files and device stay as they are.")
        left = vbox((self.list, 1), self.keep, hbox(self.rename, self.delete, STRETCH, spacing=1), spacing=1)
        right = vbox(self.name, self.about, (self.table, 1), spacing=1)
        vbox(
            label(tr("What is it to be good for?"), "title"),
            label(sentence, "muted", wrap=True),
            (hbox(left, (right, 1), spacing=2), 1),
            hbox((self.verdict, 1), self.leave, self.use, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 150, 72)
