"""The whole state of a run after an update, in memory and on disk (DESIGN.md 3.3, checkpoints/).

A checkpoint is complete or absent: it is written beside its place and moved there, and its manifest names every file
with its size and SHA-256. There is no generator state in it, because a step's randomness follows from its number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.engine.training.optimizer import SHARED_STATES, PureAdamW, restore_state
from studio.engine.training.state import Emit, Position
from studio.engine.training.trainer import Trainer
from studio.errors import TrainingError
from studio.events import CheckpointSaved
from studio.i18n import tr
from studio.runs import RunFolder

log = logging.getLogger(__name__)

KEPT = 2
# Upper bound on the share of run time spent saving checkpoints.
SHARE_OF_CHECKPOINTS = 0.02
# Updates before the first checkpoint: early enough to go back to, late enough for a few updates to have gone well.
FIRST_CHECKPOINT = 3
WEIGHTS, OPTIMIZER, STATE, MANIFEST = "trained.safetensors", "optimizer.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """What a run needs to go on as if it had never stopped.

    Attributes:
        trained: trained parameters by name.
        optimizer: the optimizer's tensors by the number of the trained parameter and name, such as `3.exp_avg`.
        scaler: scale and good updates in a row; None where the loss was not scaled.
        position: how far the run had come.
    """

    trained: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, float] | None
    position: dict[str, int]


class Checkpoints:
    """The checkpoints of one run: saved as often as their cost allows, and found again.

    Args:
        folder: of the run.
        emit: is told of each checkpoint.
    """

    def __init__(self, folder: RunFolder, emit: Emit) -> None:
        self._folder = folder
        self._emit = emit
        self._next_at = 0.0

    def keep(self, trainer: Trainer, position: Position) -> None:
        """Save a checkpoint, unless it is too soon for the first one or the last one took too long for another."""
        started = time.monotonic()
        if position.update < FIRST_CHECKPOINT or started < self._next_at:
            return
        place = self._folder.checkpoint(position.step)
        try:
            write(take(trainer, position, copy=False), place)
        except (OSError, TrainingError):
            log.exception("The checkpoint %s could not be saved; the run goes on", place)
            return
        ended = time.monotonic()
        self._next_at = ended + (ended - started) / SHARE_OF_CHECKPOINTS
        self._emit(CheckpointSaved(step=position.step, update=position.update, path=str(place)))

    def good(self, update: int) -> list[Path]:
        """Return the checkpoints, newest first, of fewer updates than `update`: an update was applied to each since."""
        updates = {place: read_update(place) for place in self._folder.list_checkpoints()}
        return [place for place, saved in updates.items() if saved is not None and saved < update]

    def go_back(self, update: int) -> Snapshot:
        """Read the newest good checkpoint, and remove what was saved after it.

        Raises:
            TrainingError: there is none.
        """
        for place in self.good(update):
            try:
                state = read(place)
            except TrainingError as error:
                log.warning("%s", error)
                continue
            newest_first = self._folder.list_checkpoints()
            for later in newest_first[: newest_first.index(place)]:
                shutil.rmtree(later)
            return state
        raise TrainingError(tr("There is no good checkpoint to go back to; the run goes on as it is."))


def take(trainer: Trainer, position: Position, *, copy: bool = True) -> Snapshot:
    """Bring the state of a run to the processor's memory.

    Without `copy`, what is there already is shared with the run and changes with it. That is enough to write it down
    at once, and saves twelve bytes for each trained parameter.
    """
    trained = {name: _on_cpu(p, copy) for name, p in trainer.model.model.named_parameters() if p.requires_grad}
    moments = trainer.optimizer.state
    tensors = {
        f"{number}.{name}": _on_cpu(torch.as_tensor(value), copy)
        for number, parameter in enumerate(trainer.model.parameters)
        for name, value in moments.get(parameter, {}).items()
        if name not in SHARED_STATES
    }
    scaler = trainer.scaler
    scale = {"scale": scaler.scale, "good_updates": scaler.good_updates} if scaler else None
    return Snapshot(trained, tensors, scale, dataclasses.asdict(position))


def put_back(snapshot: Snapshot, trainer: Trainer, position: Position) -> None:
    """Bring a run to the state of a snapshot; formats may differ, a scaler that is new keeps its own scale."""
    parameters = dict(trainer.model.model.named_parameters())
    with torch.no_grad():
        for name, value in snapshot.trained.items():
            parameters[name].copy_(value)
    # Not through `load_state_dict`: it would round the fp32 averages of 16-bit weights to 16 bits, and it numbers
    # parameters by the optimizer's groups, which a checkpoint need not know.
    optimizer = trainer.optimizer
    optimizer.state.clear()
    for key, value in snapshot.optimizer.items():
        number, _, name = key.partition(".")
        restore_state(optimizer, trainer.model.parameters[int(number)], name, value)
    if isinstance(optimizer, PureAdamW):
        optimizer.updates = snapshot.position["update"]
    if trainer.scaler and snapshot.scaler:
        trainer.scaler.scale = snapshot.scaler["scale"]
        trainer.scaler.good_updates = int(snapshot.scaler["good_updates"])
    for field, count in snapshot.position.items():
        setattr(position, field, count)


def write(snapshot: Snapshot, place: Path) -> None:
    """Write a checkpoint at `place` and remove older ones beyond the newest two.

    Raises:
        TrainingError: a trained weight is not finite; nothing is written then.
        OSError: the disk is full or cannot be written.
    """
    from safetensors.torch import save_file

    if not all(bool(torch.isfinite(value).all()) for value in snapshot.trained.values()):
        raise TrainingError(tr("A trained weight is not a finite number; no checkpoint was saved."))
    draft = place.with_name(f".{place.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(snapshot.trained, draft / WEIGHTS)
    save_file(snapshot.optimizer, draft / OPTIMIZER)
    state = {"scaler": snapshot.scaler, "position": snapshot.position}
    (draft / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
    files = {name: _describe(draft / name) for name in (WEIGHTS, OPTIMIZER, STATE)}
    (draft / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    for file in draft.iterdir():
        with file.open("rb+") as opened:  # on the disk before the folder gets its name
            os.fsync(opened.fileno())
    # The rename is the moment at which the checkpoint exists; whatever stops the process before leaves a draft alone.
    shutil.rmtree(place, ignore_errors=True)
    draft.replace(place)
    # By number: as text, step-1000000 would sort before step-999999.
    for old in sorted(place.parent.glob("step-*"), key=lambda one: int(one.name.removeprefix("step-")))[:-KEPT]:
        shutil.rmtree(old)


def read(place: Path) -> Snapshot:
    """Read a checkpoint. Raises `TrainingError` when it is damaged."""
    from safetensors.torch import load_file

    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        damaged = [name for name, known in manifest["files"].items() if _describe(place / name) != known]
        if not damaged:
            state = json.loads((place / STATE).read_text(encoding="utf-8"))
            tensors = load_file(place / WEIGHTS), load_file(place / OPTIMIZER)
            return Snapshot(*tensors, state["scaler"], state["position"])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(place) from error
    raise _damaged(place)


def read_update(place: Path) -> int | None:
    """Return after how many updates a checkpoint was saved; None when it cannot be read."""
    try:
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        return int(state["position"]["update"])
    except (OSError, ValueError, KeyError):
        return None


def _damaged(place: Path) -> TrainingError:
    return TrainingError(tr("The checkpoint {folder} is damaged or incomplete.").format(folder=place))


def _on_cpu(value: Tensor, copy: bool) -> Tensor:
    return value.detach().to("cpu", copy=copy).contiguous()


def _describe(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}
