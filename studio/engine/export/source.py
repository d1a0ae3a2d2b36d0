"""What an export is made from: a run with a trained part, and the base it was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.config import RunConfig, read_config
from studio.engine.control import Progress
from studio.engine.estimate.plan import with_storage
from studio.engine.methods import METHODS, Method
from studio.engine.models.files import FilePrint, fingerprint, model_name
from studio.engine.models.find import resolve_model
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.errors import ExportError
from studio.files import expand_user
from studio.i18n import tr
from studio.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that can be exported.

    Attributes:
        base: the folder of the base model; `base_files` are the sizes and SHA-256 of its files.
        kind: what the run treated the base as.
        name: what the base is called in the export; never a path of this machine.
    """

    folder: RunFolder
    config: RunConfig
    method: Method
    base: Path
    base_files: dict[str, FilePrint]
    info: ModelInfo
    kind: Literal["base", "chat"]
    name: str


def open_source(folder: RunFolder, progress: Progress) -> Source:
    """Return what the run offers for export.

    Raises:
        ExportError: the run has no trained part, or its base has changed since.
        StudioError: the run folder or the base model cannot be read.
    """
    state = folder.read_state()
    config = with_storage(read_config(folder.config), state.get("base_dtype", "auto"))
    if not any(folder.adapter.glob("*.safetensors")):
        raise ExportError(
            tr("The run {run} ({status}) has no trained weights to export; train it first.").format(
                run=folder.name, status=state["status"]
            )
        )
    trained_on = state.get("model", {})
    base = resolve_model(trained_on.get("path", config.model.path), progress)
    info = inspect_model(base, progress)
    base_files = fingerprint(base, progress)
    _refuse_changed(folder, base, base_files)
    return Source(
        folder=folder,
        config=config,
        method=METHODS.get(config.method.name),
        base=base,
        base_files=base_files,
        info=info,
        kind=trained_on.get("kind", info.kind),
        name=_public_name(config.model.path, base),
    )


def _refuse_changed(folder: RunFolder, base: Path, now: dict[str, FilePrint]) -> None:
    """Refuse a base that is not the one trained on. A run of an older version, without the record, passes."""
    record = folder.path / "base.json"
    if not record.exists():
        return
    before = json.loads(record.read_text(encoding="utf-8"))["base_files"]
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise ExportError(
            tr(
                "The base model in {base} has changed since this run was trained ({files}); "
                "put the old files back, or train again."
            ).format(base=base, files=", ".join(changed))
        )


def _public_name(path_or_id: str, base: Path) -> str:
    """A hub id as it was given; for a folder its name alone."""
    path = expand_user(path_or_id)
    return model_name(base) if path.is_absolute() or path.exists() else path_or_id
