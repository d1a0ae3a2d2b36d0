"""The result of a run, its trained part: saved whole or not at all, and taken from a checkpoint where it is missing."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from studio.config import read_config
from studio.engine.control import Progress
from studio.engine.device import resolve_device
from studio.engine.estimate.plan import place_of, plan, with_storage
from studio.engine.methods import METHODS
from studio.engine.models.files import FilePrint, sha256
from studio.engine.models.find import resolve_model
from studio.engine.models.inspect import inspect_model
from studio.engine.precision.choose import choose_precision
from studio.engine.training import checkpoint
from studio.engine.training.model import TrainableModel, load_trainable
from studio.engine.training.state import Position
from studio.errors import RunFolderError, TrainingError
from studio.files import is_file, read_json
from studio.i18n import tr
from studio.runs import RunFolder, sync_folder
from studio.runs.files import remove
from studio.runs.read import RESULT_RECORD, StoredResult
from studio.schema import read_as

log = logging.getLogger(__name__)


def save_trained(model: TrainableModel, method: str, folder: Path, position: Position) -> int:
    """Write the trained part into `folder` and return its size in bytes. What was there before stays until then.

    Raises:
        TrainingError: a trained weight is not finite; nothing is written then.
        OSError, SafetensorError: the disk is full or cannot be written; nothing is left then.
    """
    if not model.finite:
        raise TrainingError(tr("A trained weight is not a finite number; nothing was saved."))
    draft, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("partial", "old"))
    try:
        draft.mkdir()
        METHODS.get(method).save(model.model, draft)
        files: dict[str, FilePrint] = {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in sorted(draft.iterdir())
        }
        record = {"step": position.step, "update": position.update, "files": files}
        (draft / RESULT_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for file in draft.iterdir():
            with file.open("rb+") as opened:  # on the disk before the folder gets its name
                os.fsync(opened.fileno())
        sync_folder(draft)
        if os.path.lexists(folder):
            folder.rename(old)
        draft.rename(folder)
        sync_folder(folder.parent)
    finally:
        if os.path.lexists(old) and not os.path.lexists(folder):
            old.rename(folder)
        for left in (draft, old):
            with contextlib.suppress(OSError):  # the next start removes it
                remove(left)
    return sum(known["bytes"] for known in files.values())


def restore_result(folder: RunFolder, progress: Progress) -> str:
    """See to it that a run has a result: where it has none, or an older one, take its newest valid checkpoint.

    Returns:
        A sentence that says so; empty where the run has its result already, or no checkpoint either.

    Raises:
        RunFolderError: the result cannot be written, or a link leads out of the run folder.
        StudioError: the base model cannot be loaded.
    """
    folder.check_links()
    saved, there = _saved_update(folder), any(folder.adapter.glob("*.safetensors"))
    for place in folder.list_checkpoints():
        update = checkpoint.read_update(place)
        if update is None or update <= saved:
            continue
        try:
            snapshot = checkpoint.read(place)
        except TrainingError as error:
            log.warning("%s", error)
            continue
        try:
            _save_snapshot(folder, snapshot, progress)
        except OSError as error:
            raise RunFolderError(
                tr("The run folder {path} cannot be written: {reason}.").format(path=folder.path, reason=error.strerror)
            ) from error
        words = tr("The run ended before its result was saved; this is its newest checkpoint, of update {update}.")
        if there and saved < 0:
            words = tr("The saved result is damaged; this is the newest checkpoint instead, of update {update}.")
        return words.format(update=update)
    return ""


@contextlib.contextmanager
def under_way(folder: RunFolder, progress: Progress) -> Iterator[tuple[RunFolder, str]]:
    """Yield a copy of a run that is trained at present, whose result is the run's newest checkpoint.

    Nothing is written into the folder of the run, which belongs to whoever trains it. The copy is there within the
    block.

    Yields:
        The copy, and a sentence that says what it is.

    Raises:
        TrainingError: there is no checkpoint yet.
        StudioError: the base model cannot be loaded.
    """
    folder.check_links()
    for place in folder.list_checkpoints():
        update = checkpoint.read_update(place)
        if update is None:
            continue
        snapshot = checkpoint.read(place)
        with TemporaryDirectory(prefix="finetune-studio-") as temporary:
            copy = RunFolder(Path(temporary))
            for file in (folder.config, folder.state, folder.path / "base.json"):
                if is_file(file):
                    shutil.copy(file, copy.path)
            _save_snapshot(copy, snapshot, progress)
            yield copy, tr("The run is under way; this is its checkpoint of update {update}.").format(update=update)
        return
    words = tr("The run {run} is under way and has no checkpoint yet; save one (menu Run), and ask again.")
    raise TrainingError(words.format(run=folder.name))


def _saved_update(folder: RunFolder) -> int:
    """Return the update whose weights are the saved result; -1 where there is none, or it is damaged."""
    if not any(folder.adapter.glob("*.safetensors")):
        return -1
    try:
        record = read_as(StoredResult, read_json(folder.adapter / RESULT_RECORD))
        whole = all(sha256(folder.adapter / name) == known["sha256"] for name, known in record["files"].items())
        return record["update"] if whole else -1
    except FileNotFoundError:  # of an earlier version, or a file is missing
        return int(folder.read_state().get("updates", 0)) if not (folder.adapter / RESULT_RECORD).exists() else -1
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s is damaged: %s", folder.adapter / RESULT_RECORD, error)
        return -1


def _save_snapshot(folder: RunFolder, snapshot: checkpoint.Snapshot, progress: Progress) -> None:
    """Load the base as the run did, on the processor, and put the trained weights of a checkpoint into it."""
    state: dict[str, Any] = folder.read_state()
    config = with_storage(read_config(folder.config), state.get("base_dtype", "auto"))
    base = resolve_model(state.get("model", {}).get("path", config.model.path), progress)
    info = inspect_model(base, progress)
    config = config.model_copy(update={"training": config.training.model_copy(update={"device": "cpu"})})
    precision, _ = choose_precision(config.precision, resolve_device("cpu"), info.dtype)
    fit = plan(info, config, place_of(config)).fit
    model = load_trainable(base, config, precision, torch.device("cpu"), fit, progress)
    parameters = dict(model.model.named_parameters())
    with torch.no_grad():
        for name, value in snapshot.trained.items():
            parameters[name].copy_(value)
    save_trained(model, config.method.name, folder.adapter, Position(**snapshot.position))
