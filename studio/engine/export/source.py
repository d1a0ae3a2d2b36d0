"""What an export is made from: a run with a trained part, and the base it was trained on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.config import RunConfig, read_config
from studio.engine.control import Progress
from studio.engine.estimate.plan import with_storage
from studio.engine.export.certificate import Check
from studio.engine.hub.folders import Origin, origin_of
from studio.engine.methods import METHODS, Method
from studio.engine.models.files import FilePrint, belongings, fingerprint, sha256
from studio.engine.models.find import resolve_model
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.errors import ExportError
from studio.files import is_file, is_special
from studio.i18n import tr
from studio.runs import RunFolder
from studio.runs.read import RESULT_RECORD, StoredBase, StoredResult, read_stored


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that can be exported.

    Attributes:
        base: the folder of the base model; `base_files` are the sizes and SHA-256 of its files.
        kind: what the run treated the base as.
        name: what the base is called in the export; never a path of this machine.
        hub: where the base was downloaded from, if its weights are those that came from there.
        origin: whether trained part and base are those of the training.
    """

    folder: RunFolder
    config: RunConfig
    method: Method
    base: Path
    base_files: dict[str, FilePrint]
    info: ModelInfo
    kind: Literal["base", "chat"]
    name: str
    hub: Origin | None
    origin: tuple[Check, ...]


def open_source(folder: RunFolder, progress: Progress) -> Source:
    """Return what the run offers for export.

    Raises:
        ExportError: the run has no trained part, or that or its base has changed since.
        StudioError: the run folder or the base model cannot be read.
    """
    folder.check_links()
    state = folder.read_state()
    config = with_storage(read_config(folder.config), state.get("base_dtype", "auto"))
    special = [path.name for path in folder.adapter.glob("*") if is_special(path)]
    if special:
        raise ExportError(
            tr("{folder} holds what is not a regular file ({files}); do not use this run.").format(
                folder=folder.adapter, files=tr(", ").join(special)
            )
        )
    if not any(folder.adapter.glob("*.safetensors")):
        raise ExportError(
            tr("The run {run} ({status}) has no trained weights to export; train it first.").format(
                run=folder.name, status=state["status"]
            )
        )
    trained_on = state.get("model", {})
    base = resolve_model(trained_on.get("path", config.model.path), progress)
    with ThreadPoolExecutor(1) as pool:  # inspecting waits for the process that tries the template out
        inspected = pool.submit(inspect_model, base)
        base_files = fingerprint(base, progress)
        info = inspected.result()
    trained_part = _compare_trained_part(folder)
    compared = _compare_base(folder, base, base_files)
    hub = _hub(base, base_files)
    return Source(
        folder=folder,
        config=config,
        method=METHODS.get(config.method.name),
        base=base,
        base_files=base_files,
        info=info,
        kind=trained_on.get("kind", info.kind),
        name=hub.repository if hub else base.name,
        hub=hub,
        origin=(
            Check.of("trained_part_unchanged", True, trained_part),
            Check.of("base_unchanged", True, compared),
        ),
    )


def _compare_trained_part(folder: RunFolder) -> bool:
    """Return whether the trained part was compared with what training saved; a run of an older version has no record.

    Raises:
        RunFolderError: the record is damaged.
        ExportError: it is not what training saved.
    """
    record = folder.adapter / RESULT_RECORD
    if not is_file(record):
        return False
    saved: dict[str, FilePrint] = read_stored(record, StoredResult).get("files", {})
    there = {file.name for file in folder.adapter.iterdir() if is_file(file)}
    names = {name for name in saved.keys() | there if name.endswith((".safetensors", ".json"))} - {RESULT_RECORD}
    changed = [
        name
        for name in sorted(names)
        if name not in there or name not in saved or saved[name]["sha256"] != sha256(folder.adapter / name)
    ]
    if changed:
        raise ExportError(
            tr(
                "The trained part in {folder} is not what training saved ({files}); "
                "put the old files back, or train again."
            ).format(folder=folder.adapter, files=tr(", ").join(changed))
        )
    return True


def _compare_base(folder: RunFolder, base: Path, now: dict[str, FilePrint]) -> Literal["all", "weights", "nothing"]:
    """Return how much of the base was compared with what the run was trained on; older versions recorded less.

    Raises:
        RunFolderError: the record is damaged.
        ExportError: it is not what the run was trained on.
    """
    if not is_file(folder.path / "base.json"):
        return "nothing"
    record = read_stored(folder.path / "base.json", StoredBase)
    before, others = record.get("base_files", {}), record.get("other_files")
    if others is not None:
        before, now = before | others, now | belongings(base)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise ExportError(
            tr(
                "The base model in {base} has changed since this run was trained ({files}); "
                "put the old files back, or train again."
            ).format(base=base, files=tr(", ").join(changed))
        )
    return "weights" if others is None else "all"


def _hub(base: Path, files: dict[str, FilePrint]) -> Origin | None:
    """Return where the base was downloaded from; None where that is not known, or its weights were changed since."""
    origin = origin_of(base)
    if origin is None:
        return None
    same = (files[name]["sha256"] == digest for name, digest in origin.digests.items() if name in files)
    return origin if all(same) else None
