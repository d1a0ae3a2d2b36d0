"""The whole state of a run after an update, in memory and on disk (DESIGN.md 3.3, checkpoints/).

A checkpoint is complete or absent: it is written beside its place and moved there, and its manifest names every file
with its size and SHA-256. There is no generator state in it, because a step's randomness follows from its number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from studio.errors import TrainingError
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.precision.scaling import LossScaler
    from studio.engine.training.loop import Position

KEPT = 2
WEIGHTS, OPTIMIZER, STATE, MANIFEST = "trained.safetensors", "optimizer.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """What a run needs to go on as if it had never stopped.

    Attributes:
        trained: trained parameters by name.
        optimizer: the optimizer's tensors by parameter number and name, such as `3.exp_avg`.
        scaler: scale and good updates in a row; None where the loss was not scaled.
        position: how far the run had come.
    """

    trained: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, float] | None
    position: dict[str, int]


def take(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: LossScaler | None,
    position: Position,
    *,
    copy: bool = True,
) -> Snapshot:
    """Bring the state of a run to the processor's memory.

    Without `copy`, what is there already is shared with the run and changes with it: enough to write it down at once,
    and twelve bytes less for each trained parameter.
    """
    trained = {name: _at_hand(p, copy) for name, p in model.named_parameters() if p.requires_grad}
    states = optimizer.state_dict()["state"]
    tensors = {f"{key}.{name}": _at_hand(v, copy) for key, state in states.items() for name, v in state.items()}
    scale = {"scale": scaler.scale, "good_updates": scaler.good_updates} if scaler else None
    return Snapshot(trained, tensors, scale, dataclasses.asdict(position))


def put_back(
    snapshot: Snapshot,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: LossScaler | None,
    position: Position,
) -> None:
    """Bring a run to the state of a snapshot; formats may differ, a scaler that is new keeps its own scale."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in snapshot.trained.items():
            parameters[name].copy_(value)
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in snapshot.optimizer.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    for group in optimizer.param_groups:
        if "updates" in group:
            group["updates"] = snapshot.position["update"]
    if scaler and snapshot.scaler:
        scaler.scale, scaler.good_updates = snapshot.scaler["scale"], int(snapshot.scaler["good_updates"])
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
        _flush(file)
    shutil.rmtree(place, ignore_errors=True)
    draft.replace(place)
    # By number: the names sort like it up to a million steps alone.
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


def _at_hand(value: Tensor, copy: bool) -> Tensor:
    return value.detach().to("cpu", copy=copy).contiguous()


def _describe(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def _flush(file: Path) -> None:
    """Make sure the file is on the disk before the folder gets its name."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
