"""Which column of a dataset holds what: two drop-downs for each role, and the columns that nothing uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.engine.data.roles import ROLES, Role, choice_of, mapped
from studio.i18n import tr
from studio.text.data import listed
from studio.ui import theme
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.data.inspect import ColumnInfo


class ColumnMapping(QWidget):
    """`changed` means that the user has chosen other columns, or columns to ignore; `table` has them.

    The drop-downs are filled by recognition, until a user chooses.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table: dict[str, Any] = {}
        self._columns: Sequence[ColumnInfo] = ()
        self._format = "auto"
        self._ignored: tuple[str, ...] = ()
        self._unused: tuple[str, ...] = ()
        self.boxes: dict[str, tuple[ComboBox, ...]] = {}
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme.space(1))
        grid.setVerticalSpacing(theme.space(0.5))
        grid.setColumnStretch(1, 3)
        grid.setColumnStretch(2, 2)
        for row, role in enumerate(ROLES):
            self._add_role(grid, row, role)
        self.hint = Verdict()
        self.unused = Verdict()
        self.ignore = push_button(tr("Ignore these columns"), tooltip=tr("They are not needed; say no more of them"))
        self.ignored = label("", "caption", wrap=True)
        self.recall = push_button(tr("Name them again"), "quiet", tooltip=tr("Ignore no column any more"))
        self.ignore.clicked.connect(self._ignore)
        self.recall.clicked.connect(self._recall)
        about_unused = (self.unused, hbox(self.ignore, STRETCH))
        vbox(
            grid,
            self.hint,
            *about_unused,
            hbox((self.ignored, 1), self.recall, spacing=1),
            STRETCH,
            spacing=0.75,
            parent=self,
        )

    def show_columns(
        self,
        columns: Sequence[ColumnInfo],
        unused: Sequence[str],
        source: dict[str, Any],
        format_name: str = "auto",
    ) -> None:
        """Offer the columns of a file, filled with those that are used.

        Args:
            unused: columns that hold something and are not used.
            source: the table of `[[data.sources]]`.
            format_name: the format that was recognised.
        """
        self._columns, self._format = columns, format_name
        self._ignored, self._unused = tuple(source.get("ignored_columns", ())), tuple(unused)
        names = {column.name for column in columns}
        given = {field: column for field, column in source.get("columns", {}).items() if column in names}
        choice = choice_of({column.field: column.name for column in columns if column.field} | given)
        examples = [(column.name, _shown(column)) for column in columns]
        for role in ROLES:
            nothing = ("—", tr("— {also}").format(also=tr(role.also)))
            for box, none, chosen in zip(self.boxes[role.name], nothing, choice[role.name], strict=False):
                box.blockSignals(True)
                box.set_choices([("", none), *examples])
                box.set_value(chosen)
                box.blockSignals(False)
        self._judge(complete=any(column.field for column in columns))
        self._show_unused()

    def _add_role(self, grid: QGridLayout, row: int, role: Role) -> None:
        title = label(tr(role.title))
        title.setToolTip(tr(role.help))
        grid.addWidget(title, row, 0)
        boxes = []
        for place, name in enumerate([role.title, role.also] if role.also else [role.title]):
            box = ComboBox()
            box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(6)
            words = tr(name) if place == 0 else tr("{role}, {also}").format(role=tr(role.title), also=tr(name))
            box.describe(tr("Column for {role}").format(role=words), tr(role.help))
            box.setToolTip(tr(role.help) if place == 0 else tr("A second column: {also}").format(also=tr(name)))
            box.changed.connect(self._choose)
            grid.addWidget(box, row, 1 + place)
            boxes.append(box)
        title.setBuddy(boxes[0])
        self.boxes[role.name] = tuple(boxes)

    def _choose(self) -> None:
        choice = {name: ([*(box.value() for box in boxes), ""])[:2] for name, boxes in self.boxes.items()}
        names = [column.name for column in self._columns]
        lists = {column.name for column in self._columns if column.example.lstrip().startswith(("[", "{"))}
        source = mapped(
            {name: (one, two) for name, (one, two) in choice.items()}, names, lists, self._format, self._ignored
        )
        self._judge(complete=source is not None)
        if source is not None:
            self._take(source.format, source.columns, source.ignored_columns)

    def _judge(self, *, complete: bool) -> None:
        words = tr("Say which column holds the answer, and which the question; or which holds the whole conversation.")
        self.hint.set("" if complete else words, "warning")

    def _show_unused(self) -> None:
        words = tr("Not used: {columns}. Choose what they are for, or say that they are not needed.")
        self.unused.set(words.format(columns=listed(self._unused)) if self._unused else "", "warning")
        self.ignore.setVisible(bool(self._unused))
        self.ignored.setText(tr("Ignored: {columns}").format(columns=listed(self._ignored)) if self._ignored else "")
        for widget in (self.ignored, self.recall):
            widget.setVisible(bool(self._ignored))

    def _ignore(self) -> None:
        self._take(None, None, tuple(dict.fromkeys((*self._ignored, *self._unused))))

    def _recall(self) -> None:
        self._take(None, None, ())

    def _take(self, format_name: str | None, columns: dict[str, str] | None, ignored: tuple[str, ...]) -> None:
        self.table = {"ignored_columns": list(ignored)}
        if format_name is not None and columns is not None:
            self.table |= {"format": format_name, "columns": columns}
        self._ignored = ignored
        self.changed.emit()


def _shown(column: ColumnInfo) -> str:
    """A column in a drop-down: its name, and the beginning of its first value."""
    value = " ".join(column.example.split())
    return f"{column.name}   ({value[:24]}{' …' if len(value) > 24 else ''})" if value else column.name
