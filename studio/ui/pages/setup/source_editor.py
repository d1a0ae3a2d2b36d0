"""One dataset file in the Data card: its role, its facts, its rows as the model sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QWidget

from studio.config import DataConfig, DataSource, OptionSpec, options
from studio.engine.data.formats import FORMATS
from studio.files import expand_user
from studio.i18n import tr, trn
from studio.runner import actions
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.forms.editors import ChoiceEditor
from studio.ui.forms.form import Form
from studio.ui.forms.offer_editor import OfferEditor, encodings
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.pages.setup.column_mapping import ColumnMapping
from studio.ui.pages.setup.rendered_rows import RenderedRows
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.disclosure import Disclosure
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.data.findings import Finding
    from studio.engine.data.inspect import ColumnInfo, DataInspection
    from studio.engine.models.info import ModelInfo
    from studio.ui.dialogs.xray.dialog import XRayDialog

PREVIEW_ROWS = 5
_WIDE = 105  # characters, from which columns and rows stand beside each other


class SourceEditor(QFrame):
    """`changed` means other values; `judged` means that the inspection ended; `removed` that the user took it away.

    `remedy_chosen` carries the `Remedy` of a finding in the X-ray.
    """

    changed = Signal()
    judged = Signal()
    removed = Signal()
    remedy_chosen = Signal(object)

    def __init__(self, context: AppContext, values: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "inset")
        self.inspection: DataInspection | None = None
        self.error = ""
        self.xray: XRayDialog | None = None
        self._given = dict(values)
        self._named: set[str] = set()
        self._read: dict[str, Any] = {}
        self._context = context
        self._model: ModelInfo | None = None
        self._config: DataConfig | None = None
        self._look = Job(self, context, tr("Reading the data"))
        self._peek = Job(self, context, tr("Reading the columns"))
        self._build()
        self._look.finished.connect(self._show_inspection)
        self._look.failed.connect(self._show_error)
        self._look.progressed.connect(self._progress.report)
        self._peek.finished.connect(self._show_columns)
        self._peek.failed.connect(lambda _: self._disclosure.hide())  # why is said already

    @property
    def path(self) -> str:
        return str(self._given["path"])

    @property
    def role(self) -> str:
        return self._role.value()

    @property
    def pending(self) -> bool:
        return self._look.running

    @property
    def problem(self) -> str:
        """Why a run cannot start with this file, in a sentence, or nothing."""
        return self.error or self._more.problem()

    @property
    def changed_for_reading(self) -> bool:
        """Whether the file would be read otherwise than it was the last time; role and weight have no say in it."""
        return not self._more.problem() and self._reading() != self._read

    def _reading(self) -> dict[str, Any]:
        return {key: value for key, value in self.values().items() if key not in ("role", "weight")}

    def values(self) -> dict[str, Any]:
        """Return the table of `[[data.sources]]`."""
        return self._given | self._more.values() | {"role": self.role}

    @property
    def needs_attention(self) -> bool:
        """Whether there is something about its rows that the user should act on."""
        return self._verdict.level in ("warning", "bad")

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Columns that hold something, are not used, and of which the user has not said that they are not needed."""
        return self.inspection.unused_columns if self.inspection else ()

    def inspect(self, model: ModelInfo | None, config: DataConfig | None, seed: int = 0) -> None:
        """Look at the file again, with the model's own tokenizer and template once there is a model.

        `seed` is that of the run, which decides the rows that are held out.
        """
        self._read = self._reading()
        source = DataSource.model_validate(self._read)
        self.error = ""
        self._model, self._config = model, config
        self._verdict.set(tr("Reading …"), "busy")
        self._look.start_soon(lambda progress: actions.open_data(source, model, config, PREVIEW_ROWS, progress, seed))
        self._allow_xray()
        if self.xray is not None:
            self._read_xray(self.xray)

    def open_xray(self) -> None:
        """Show every row in a window of its own, until the user closes it."""
        if self._model is None or self.xray is not None:
            return
        from studio.ui.dialogs.xray.dialog import XRayDialog

        dialog = XRayDialog(self._context, Path(self.path).name, self._model.context_length, self)
        self.xray = dialog
        dialog.remedy_chosen.connect(self.remedy_chosen)
        dialog.finished.connect(self._close_xray)
        dialog.show_findings(self.inspection.findings if self.inspection else ())
        self._read_xray(dialog)
        dialog.open()

    def _read_xray(self, dialog: XRayDialog) -> None:
        source, model, config = DataSource.model_validate(self._reading()), self._model, self._config
        if model is None:
            dialog.reject()
        else:
            dialog.read(lambda progress: actions.open_xray(source, model, config, progress))

    def _close_xray(self) -> None:
        if self.xray is not None:
            self.xray.deleteLater()
            self.xray = None

    def _allow_xray(self) -> None:
        """Rows that were read for a model can be opened, also where none teaches; the tooltip says what is missing."""
        reason = "" if self.inspection else self.error
        if self._model is None:
            reason = tr("Choose a model first: the X-ray shows the rows as it reads them.")
        words = tr("Every row as the model reads it: search, lengths, findings, cut and skipped rows")
        self.look_closer.setEnabled(self.inspection is not None and not reason)
        self.look_closer.setToolTip(reason or words)

    def show_share(self, words: str) -> None:
        """Say what the file gives to an epoch, or nothing."""
        self.share.setText(words)
        self.share.setVisible(bool(words))

    def drop(self) -> None:
        """No longer look."""
        for job in (self._look, self._peek):
            job.drop()

    def _build(self) -> None:
        name = Path(self.path).name
        self._verdict, self._notes = Verdict(), Verdict("muted")
        for verdict in (self._verdict, self._notes):
            verdict.setToolTip(self.path)
        self._progress = TaskProgress()
        self._progress.cancelled.connect(self._cancel)
        self.preview, self.mapping = RenderedRows(), ColumnMapping()
        self.mapping.changed.connect(self._map)
        self._disclosure = Disclosure(tr("Columns, and what the model reads and learns"))
        self._disclosure.content.addWidget(_Beside(self.mapping, self.preview))
        self._disclosure.hide()
        self.share = label("", "caption", wrap=True)
        self.share.hide()
        self.look_closer = push_button(tr("X-ray …"), icon="search")
        self.look_closer.clicked.connect(self.open_xray)
        self._more = Form(
            DataSource,
            {"weight", "format", "thoughts", "text_unit", "encoding", "bad_rows"},
            {"format": FormatEditor, "encoding": partial(OfferEditor, encodings())},
        )
        self._more.set_values(self._given)
        self._more.changed.connect(self.changed)
        said = hbox(
            (vbox(self._verdict, self._notes, spacing=0.5), 1),
            (self.look_closer, 0, Qt.AlignmentFlag.AlignTop),
            spacing=1,
        )
        parts = (self._head(name), said, self.share, self._progress, self._disclosure, self._more)
        vbox(*parts, spacing=0.5, margins=(1.5, 1, 1, 1), parent=self)

    def _head(self, name: str) -> QHBoxLayout:
        self._role = Segmented([("domain", tr("Domain")), ("general", tr("General"))])
        spec = next(spec for spec in options(DataSource) if spec.key == "role")
        self._role.describe(tr("Role of {file}").format(file=name), tr(spec.help))
        self._role.setToolTip(tr(spec.help))
        self._role.set_value(str(self._given.get("role", "domain")))
        self._role.changed.connect(self.changed)
        self.remove = remove = icon_button("remove", tr("Remove {file}").format(file=name))
        remove.setToolTip(tr("Remove {file}; Ctrl+Z brings it back").format(file=name))
        remove.clicked.connect(self.removed)
        middle = Qt.TextElideMode.ElideMiddle
        file = ElidedLabel(name, "value", mode=middle)
        folder = ElidedLabel(str(Path(self.path).parent), "caption", mode=middle)
        return hbox((vbox(file, folder, spacing=0), 1), self._role, remove, spacing=1)

    def _cancel(self) -> None:
        self._look.drop()
        self._read = {}
        self._show_error(tr("Reading was cancelled; remove the file, or change an option to read it again."))

    def _show_error(self, sentence: str) -> None:
        self.inspection, self.error = None, self._short(sentence)
        self._progress.hide()
        self.preview.hide()
        self._verdict.set(self.error, "bad")
        self._notes.set("")
        self._allow_xray()
        source = DataSource.model_validate(self._reading())
        self._peek.start(lambda progress: actions.peek_columns(source, progress))
        self.judged.emit()

    def _short(self, sentence: str) -> str:
        """Return a sentence with the name of the file in place of its path."""
        path = expand_user(self.path)
        return sentence.replace(str(path), path.name)

    def _show_columns(self, columns: Sequence[ColumnInfo]) -> None:
        """Ask which column holds what, of a file whose rows cannot be read as they are laid out."""
        self.mapping.show_columns(columns, (), self.values())
        self._disclosure.setVisible(bool(columns))
        if columns:
            self._disclosure.open()

    def _map(self) -> None:
        """Take the columns that the user has chosen."""
        self._given |= {key: value for key, value in self.mapping.table.items() if key != "format"}
        if (name := self.mapping.table.get("format")) is not None:
            self._more.set_values(self._more.values() | {"format": name})
        self.changed.emit()

    def _show_inspection(self, inspection: DataInspection) -> None:
        # A file may be read well and hold no row that can teach.
        nothing_left = inspection.problems and inspection.skipped >= inspection.rows
        self.inspection = inspection
        self.error = self._short(inspection.problems[0].text()) if nothing_left else ""
        self._progress.hide()
        title = next((entry.title for entry in FORMATS if entry.name == inspection.format), inspection.format)
        rows = trn("{rows} row", "{rows} rows", inspection.rows).format(rows=f"{inspection.rows:,}")
        facts = [tr(title), rows]
        if inspection.skipped:
            facts.append(tr("{rows} skipped").format(rows=f"{inspection.skipped:,}"))
        # Unused columns are named below, where one says what they are for.
        problems = [one for one in inspection.problems if one.code != "unused_columns"]
        lines = [" · ".join(facts), *(self._short(one.text()) for one in problems if not one.neutral)]
        if inspection.findings:
            lines.append(_findings_text(inspection.findings))
        self._verdict.set(
            "\n".join(lines),
            "bad" if self.error else "warning" if len(lines) > 1 or inspection.unused_columns else "good",
        )
        self._notes.set("\n".join(self._short(one.text()) for one in problems if one.neutral), "note")
        self.preview.show_rows(inspection.rendered)
        self.preview.setVisible(bool(inspection.rendered))
        self.mapping.show_columns(
            inspection.columns, inspection.unused_columns, self.values(), format_name=inspection.format
        )
        self._peek.drop()
        self._disclosure.setVisible(bool(inspection.columns or inspection.rendered))
        if set(inspection.unused_columns) - self._named:
            self._disclosure.open()
        self._named = set(inspection.unused_columns)
        self._allow_xray()
        if self.xray is not None:
            self.xray.show_findings(inspection.findings)
        self.judged.emit()


def _findings_text(findings: Sequence[Finding]) -> str:
    """Return a line that names findings with their counts."""
    titles = tr(", ").join(
        tr("{words} ({detail})").format(words=finding.title, detail=f"{finding.count:,}") for finding in findings
    )
    return tr("Findings: {titles}. The X-ray shows the rows, and what mends them.").format(titles=titles)


class _Beside(QWidget):
    """Two widgets beside each other where there is room, and below each other where there is not."""

    def __init__(self, first: QWidget, second: QWidget) -> None:
        super().__init__()
        self._parts = (first, second)
        self._box = hbox((first, 3), (second, 2, Qt.AlignmentFlag.AlignTop), spacing=2, parent=self)

    @override
    def minimumSizeHint(self) -> QSize:
        """The width of the wider one: that of both would keep them beside each other for ever."""
        width = max(part.minimumSizeHint().width() for part in self._parts)
        return QSize(width, super().minimumSizeHint().height())

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        is_wide = event.size().width() >= theme.characters(_WIDE)
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if is_wide else QBoxLayout.Direction.TopToBottom)


class FormatEditor(ChoiceEditor):
    """The formats that there are, by their titles."""

    def __init__(self, spec: OptionSpec) -> None:
        formats = [("auto", tr("Automatic")), *((entry.name, entry.title) for entry in FORMATS)]
        super().__init__(replace(spec, choices=tuple(formats)))
