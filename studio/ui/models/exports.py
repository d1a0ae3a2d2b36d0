"""The exports of a run, newest first: those that passed, those that failed, and those that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QIcon

from studio.engine.export import TARGETS
from studio.engine.export.certificate import Certificate, read_certificate
from studio.errors import ExportError
from studio.i18n import tr
from studio.runs import RunFolder
from studio.text.gguf import loss_level
from studio.text.visible import in_line
from studio.ui import icons
from studio.ui.models.run_summary import when_text
from studio.ui.override import override

# The icon of each level.
SIGNS = {"good": "check", "warning": "warning", "bad": "error"}


@dataclass(frozen=True, kw_only=True)
class PastExport:
    """One export folder: its certificate, or the sentence why there is none.

    Attributes:
        checked: when it was checked again; None where the certificate is the one that was written with it.
    """

    path: Path
    certificate: Certificate | None
    problem: str = ""
    checked: float | None = None

    @property
    def passed(self) -> bool:
        return self.certificate is not None and self.certificate.passed

    @property
    def level(self) -> str:
        """How good it is: bad when it failed, a warning when its format costs more than little."""
        if self.certificate is None or not self.certificate.passed:
            return "bad"
        return "warning" if loss_level(self.certificate.checks) else "good"


@dataclass(frozen=True, kw_only=True)
class GgufRow:
    """What one format cost.

    Attributes:
        bytes: size of the file.
        kl: KL divergence from the trained model, nats per token.
        top1: share of positions where the likeliest token is the trained model's.
        level: what that amounts to, as `studio.engine.export.gguf.cost` has it.
    """

    dtype: str
    bytes: int
    kl: float
    top1: float
    level: str
    passed: bool


def gguf_rows(exports: Sequence[PastExport]) -> list[GgufRow]:
    """Return the GGUF files among exports that come newest first: the newest of each format, the largest first."""
    rows: dict[str, GgufRow] = {}
    for export in exports:
        certificate = export.certificate
        checks = {check.name: check for check in certificate.checks} if certificate else {}
        cost = checks.get("gguf_cost")
        if certificate is None or cost is None or cost.evidence is None:
            continue
        size = sum(print_["bytes"] for name, print_ in certificate.files.items() if name.endswith(".gguf"))
        row = GgufRow(
            dtype=certificate.dtype,
            bytes=size,
            kl=float(cost.value or 0.0),
            top1=float(cost.evidence["top1"]),
            level=str(cost.evidence["level"]),
            passed=export.passed,
        )
        rows.setdefault(row.dtype, row)
    return sorted(rows.values(), key=lambda row: -row.bytes)


def read_export(path: Path) -> PastExport:
    """Read what an export folder says of itself."""
    try:
        return PastExport(path=path, certificate=read_certificate(path))
    except ExportError as error:
        return PastExport(path=path, certificate=None, problem=str(error))


def read_exports(run: RunFolder) -> list[PastExport]:
    """Return the exports in a run's folder, newest first. Folders that are still being written are passed over."""
    if not run.exports.is_dir():
        return []
    folders = [path for path in run.exports.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = map(read_export, folders)
    return sorted(found, key=lambda export: getattr(export.certificate, "created", 0.0), reverse=True)


def target_title(name: str) -> str:
    """Return a target as it is called in the window; an unknown one keeps its name."""
    return tr(TARGETS.get(name).title) if name in TARGETS.names() else name


def export_text(export: PastExport) -> str:
    """Return an export in one line."""
    if export.certificate is None:
        return tr("{name} · cannot be read").format(name=export.path.name)
    verdict = tr("passed") if export.passed else tr("failed")
    if cost := loss_level(export.certificate.checks):
        verdict = tr("passed, cost: {level}").format(level=cost)
    parts = (target_title(export.certificate.target), export.certificate.dtype, verdict)
    return " · ".join((*parts, when_text(export.certificate.created)))


class ExportsModel(QAbstractListModel):
    """Past exports as a list."""

    def __init__(self) -> None:
        super().__init__()
        self._exports: list[PastExport] = []
        self._checked: dict[Path, PastExport] = {}

    def set_exports(self, exports: list[PastExport]) -> None:
        """Show other exports; what checking one again has shown is kept for as long as it is the same export."""
        self.beginResetModel()
        self._exports = [self._known(export) for export in exports]
        self.endResetModel()

    def export(self, row: int) -> PastExport:
        return self._exports[row]

    def replace(self, export: PastExport) -> None:
        """Show what checking an export again has shown."""
        self._checked[export.path] = export
        row = self.row_of(export.path)
        if row >= 0:
            self._exports[row] = export
            self.dataChanged.emit(self.index(row), self.index(row))

    def row_of(self, path: Path) -> int:
        """Return the row of an export folder, or -1."""
        return next((row for row, export in enumerate(self._exports) if export.path == path), -1)

    def _known(self, export: PastExport) -> PastExport:
        again = self._checked.get(export.path)
        if again is None or again.certificate is None or export.certificate is None:
            return export
        return again if again.certificate.created == export.certificate.created else export

    @override
    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._exports)

    @override
    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        export = self._exports[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return in_line(export_text(export))
            case Qt.ItemDataRole.ToolTipRole:
                return str(export.path)
            case Qt.ItemDataRole.DecorationRole:
                return _sign(export)
        return None


def _sign(export: PastExport) -> QIcon:
    return icons.icon(SIGNS[export.level], export.level, export.level)
