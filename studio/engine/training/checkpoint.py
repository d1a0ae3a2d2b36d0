"""The whole state of a run after an update, in memory and on disk (DESIGN.md 3.3, checkpoints/).

A checkpoint is complete or absent: it is written beside its place and moved there, and its manifest names every file
with its size and SHA-256. There is no generator state in it, because a step's randomness follows from its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from studio.config import CheckpointsConfig
from studio.engine.sharding import spread, trained_parameters, whole
from studio.engine.training.optimizer import SHARED_STATES, PureAdamW, restore_state
from studio.engine.training.state import Emit, Position
from studio.engine.training.trainer import Trainer
from studio.errors import TrainingError
from studio.events import CheckpointFailed, CheckpointSaved
from studio.files import open_regular, parse_object, read_bytes, read_json
from studio.i18n import tr
from studio.runs import RunFolder, sync_folder
from studio.runs.files import remove
from studio.runs.read import StoredCheckpoint, StoredManifest, StoredPosition, StoredPrint
from studio.schema import read_as

log = logging.getLogger(__name__)

# Upper bounds on the share of a run's time in which training waits for checkpoints, and in which they are written
# beside it: what is written is as large as three times the trained weights.
SHARE_OF_CHECKPOINTS, SHARE_OF_WRITING = 0.02, 0.2
# Updates before the first checkpoint: early enough to go back to, late enough for a few updates to have gone well.
FIRST_CHECKPOINT = 3
WEIGHTS, OPTIMIZER, STATE, MANIFEST = "trained.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
BEST = "best.safetensors"  # only where retention has a bound
_FILES = frozenset((WEIGHTS, OPTIMIZER, STATE, BEST))
# 1, without a number in it, had `scaler` and `position` alone.
FORMAT = 2


class UnusableCheckpoint(TrainingError):
    """A checkpoint cannot be gone on from; `reason` is a code of `studio.text.resume`."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Snapshot:
    """What a run needs to go on as if it had never stopped.

    Attributes:
        trained: trained parameters by name.
        optimizer: the optimizer's tensors by the number of the trained parameter and name, such as `3.exp_avg`.
        scaler: scale and good updates in a row; None where the loss was not scaled.
        position: how far the run had come.
        run: the rest as JSON, such as the configuration (`studio.engine.training.resume.describe`); empty in
            checkpoints of earlier versions.
        best: a file with the trained weights that retention's bound would fall back to, where there is one.
    """

    trained: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, float] | None
    position: dict[str, int]
    run: dict[str, Any] = field(default_factory=dict)
    best: Path | None = None

    @property
    def bytes(self) -> int:
        """The memory that its tensors take."""
        return sum(value.nbytes for value in (*self.trained.values(), *self.optimizer.values()))

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Snapshot:
        """Return a snapshot with every tensor changed."""
        trained, optimizer = (
            {name: change(value) for name, value in tensors.items()} for tensors in (self.trained, self.optimizer)
        )
        return dataclasses.replace(self, trained=trained, optimizer=optimizer)

    def hollow(self) -> Snapshot:
        """Return what a process needs that takes its part of the tensors from process 0: their shapes alone.

        Scalars, such as the count of steps, keep their value.
        """
        return self.with_tensors(lambda value: value.to("meta") if value.dim() else value)


class Checkpoints:
    """The checkpoints of one run: saved when they are due, in a thread beside the training, and found again.

    That thread never outlives the run (`settle`). A checkpoint that cannot be written is told, and the run goes on.

    Args:
        folder: of the run.
        settings: how often, and how many.
        emit: is told of each checkpoint, on the thread of the training.
    """

    def __init__(self, folder: RunFolder, settings: CheckpointsConfig, emit: Emit) -> None:
        self._folder = folder
        self._settings = settings
        self._emit = emit
        self._next_at = 0.0
        self._affordable_at = 0.0
        self._writer: threading.Thread | None = None
        self._written: list[Callable[[], None]] = []
        self._saved: tuple[int, Any] = (0, None)

    def is_due(self, update: int, *, best: bool = False) -> bool:
        """Return whether it is time for one; `best`: the validation loss is the lowest so far."""
        if not self._settings.every_minutes or (self._writer and self._writer.is_alive()):
            return False
        now = time.monotonic()
        first = update >= FIRST_CHECKPOINT and now >= self._next_at
        return (best or first) and now >= self._affordable_at

    def holds(self, position: Position, run: Mapping[str, Any]) -> bool:
        """Return whether the newest checkpoint is this very state, with all that was measured of it."""
        self.settle()
        return self._saved == (position.step, _measured(run))

    def save(self, trainer: Trainer, position: Position, run: dict[str, Any], best: Path | None, *, wait: bool) -> None:
        """Save a checkpoint. The state is copied at once, and written while training goes on, unless to `wait`.

        Where there is no memory for a copy, it is written at once, too.
        """
        self.settle()
        self._saved = position.step, _measured(run)
        started = time.monotonic()
        self._next_at = started + 60 * self._settings.every_minutes
        place = self._folder.checkpoint(position.step)
        try:
            self._folder.inside(self._folder.checkpoints)
            snapshot = take(trainer, position, copy=False)
            on_host = trainer.device.type == "cpu"
            wait = wait or (on_host and 2 * snapshot.bytes > psutil.virtual_memory().available)
            if on_host and not wait:
                snapshot = snapshot.with_tensors(Tensor.clone)
            snapshot = dataclasses.replace(snapshot, run=run, best=_set_aside(best, place) if best else None)
        except (OSError, MemoryError, RuntimeError) as error:  # of the disk, or no memory for the copy
            self._failed(place, position.step, position.update, error)
            return
        copied = time.monotonic() - started
        step, update = position.step, position.update

        def work() -> None:
            begun = time.monotonic()
            try:
                write(snapshot, place, self._settings.keep)
            except Exception as error:  # noqa: BLE001 - of safetensors, of the system: told on the training's thread
                found = error
                self._written.append(lambda: self._failed(place, step, update, found))
            else:
                self._written.append(lambda: self._emit(CheckpointSaved(step=step, update=update, path=str(place))))
            ended = time.monotonic()
            waited = ended - started if wait else copied
            self._affordable_at = ended + max(waited / SHARE_OF_CHECKPOINTS, (ended - begun) / SHARE_OF_WRITING)

        self._writer = threading.Thread(target=work, name="checkpoint", daemon=False)
        self._writer.start()
        if wait:
            self.settle()

    def tell(self) -> None:
        """Tell what came of the checkpoints that were written meanwhile."""
        while self._written:
            self._written.pop(0)()

    def settle(self) -> None:
        """Wait for the checkpoint that is being written, and tell what came of it."""
        if self._writer:
            self._writer.join()
            self._writer = None
        self.tell()

    def good(self, update: int) -> list[Path]:
        """Return the checkpoints, newest first, of fewer updates than `update`: an update was applied to each since.

        One that was taken while something was wrong is not among them.
        """
        states = {place: _read_state(place) for place in self._folder.list_checkpoints()}
        return [
            place
            for place, state in states.items()
            if state and _update_of(state) < update and state.get("run", {}).get("calm", True)
        ]

    def go_back(self, update: int) -> Snapshot:
        """Read the newest good checkpoint, and remove what was saved after it.

        Raises:
            TrainingError: there is none.
        """
        self.settle()
        for place in self.good(update):
            try:
                state = read(place)
            except TrainingError as error:
                log.warning("%s", error)
                continue
            newest_first = self._folder.list_checkpoints()
            for later in newest_first[: newest_first.index(place)]:
                remove(later)
            return state
        raise TrainingError(tr("There is no good checkpoint to go back to; the run goes on as it is."))

    def _failed(self, place: Path, step: int, update: int, error: Exception) -> None:
        self._saved = 0, None
        log.warning("The checkpoint %s could not be saved; the run goes on", place, exc_info=error)
        self._emit(CheckpointFailed(step=step, update=update, reason=" ".join(str(error).split())[:200]))


def _measured(run: Mapping[str, Any]) -> Any:
    return run.get("loop"), run.get("retention")


def take(trainer: Trainer, position: Position, *, copy: bool = True) -> Snapshot:
    """Bring the state of a run to the processor's memory.

    Without `copy`, what is there already is shared with the run and changes with it. That is enough to write it down
    at once, and saves twelve bytes for each trained parameter. What is spread over processes is gathered by all of
    them, tensor by tensor.
    """
    trained = {name: _on_cpu(p, copy) for name, p in trained_parameters(trainer.model.model).items()}
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


def put_weights(trained: dict[str, Tensor], trainer: Trainer) -> None:
    """Set the trained parameters, by name.

    Raises:
        TrainingError: names or shapes differ; nothing has changed then.
    """
    parameters = trained_parameters(trainer.model.model)
    ours, theirs = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (parameters, trained))
    if ours != theirs:
        name = min(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        words = tr("What was trained has other shapes than what is trained here ({name}: {theirs}, here {ours}).")
        raise TrainingError(words.format(name=name, theirs=_shape_text(theirs, name), ours=_shape_text(ours, name)))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(spread(trained[name], parameter))


def _shape_text(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    return "×".join(map(str, shapes[name])) if name in shapes else tr("not there")


def put_back(snapshot: Snapshot, trainer: Trainer, position: Position) -> None:
    """Bring a run to the state of a snapshot; formats may differ, a scaler that is new keeps its own scale.

    Raises:
        TrainingError: what is trained has other names or shapes here; nothing has changed then.
    """
    put_weights(snapshot.trained, trainer)
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
    for name, count in snapshot.position.items():
        setattr(position, name, count)


def write(snapshot: Snapshot, place: Path, keep: int = 2) -> None:
    """Write a checkpoint at `place`, and remove what it replaces: see `_remove_old`.

    Raises:
        TrainingError: a trained weight is not finite; nothing is written then.
        OSError, SafetensorError: the disk is full or cannot be written; nothing is left then.
    """
    from safetensors.torch import save_file

    draft = _draft_of(place)
    try:
        _check_finite(snapshot)
        remove(draft)
        draft.parent.mkdir(exist_ok=True)  # but no run folder: one that was deleted does not come back
        draft.mkdir()
        save_file(snapshot.trained, draft / WEIGHTS)
        save_file(snapshot.optimizer, draft / OPTIMIZER)
        if snapshot.best:
            snapshot.best.replace(draft / BEST)
        state = {"format": FORMAT, "scaler": snapshot.scaler, "position": snapshot.position, "run": snapshot.run}
        (draft / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        files = {file.name: _describe(file) for file in sorted(draft.iterdir())}
        (draft / MANIFEST).write_text(_manifest_text({"files": files}), encoding="utf-8")
        for file in draft.iterdir():
            with file.open("rb+") as opened:  # on the disk before the folder gets its name
                os.fsync(opened.fileno())
        sync_folder(draft)
        # The rename is the moment at which the checkpoint exists; whatever stops the process before leaves a draft
        # alone.
        remove(place)
        draft.replace(place)
        sync_folder(place.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if snapshot.best:
            snapshot.best.unlink(missing_ok=True)
        raise
    _remove_old(place, keep)


def _check_finite(snapshot: Snapshot) -> None:
    if not all(bool(torch.isfinite(value).all()) for value in snapshot.trained.values()):
        raise TrainingError(tr("A trained weight is not a finite number; no checkpoint was saved."))


def _remove_old(newest: Path, keep: int) -> None:
    """Keep the newest few checkpoints, the newest that was taken while all went well, and the best one.

    The best one has the lowest validation loss, of those that were measured at the update that they were taken at.
    What has a higher number than the newest is of a line that the run has left, or damaged.
    """
    # By number: as text, step-1000000 would sort before step-999999.
    found = (place for place in newest.parent.glob("step-*") if place.name.removeprefix("step-").isdecimal())
    places = sorted(found, key=_number, reverse=True)
    line = [place for place in places if _number(place) <= _number(newest)]
    states = {place: (_read_state(place) or {}).get("run", {}) for place in line}
    kept = {*line[:keep], *[place for place in line if states[place].get("calm", True)][:1]}
    measured = [place for place in line if isinstance(states[place].get("validation_loss"), float)]
    if measured:
        kept.add(min(measured, key=lambda place: states[place]["validation_loss"]))
    for place in places:
        if place not in kept:
            with contextlib.suppress(OSError):  # the new one stands; the next one tries again
                remove(place)


def read(place: Path) -> Snapshot:
    """Read a checkpoint.

    Raises:
        UnusableCheckpoint: it is damaged or incomplete, cannot be read, or was written by a later version of this
            program.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        text = read_bytes(place / MANIFEST)
        manifest = parse_object(text)
        files: dict[str, StoredPrint] = read_as(StoredManifest, manifest)["files"]
        # The text, too, is as it was written: no byte of it may be lost without a notice.
        whole = text == _manifest_text(manifest).encode() and {WEIGHTS, OPTIMIZER, STATE} <= files.keys() <= _FILES
        if whole and all(_describe(place / name) == known for name, known in files.items()):
            state = read_json(place / STATE)
            if state.get("format", 1) > FORMAT:
                words = tr(
                    "The checkpoint {folder} was written by a later version of Finetune Studio; continue with that "
                    "version."
                )
                raise UnusableCheckpoint(words.format(folder=place), "newer")
            state = read_as(StoredCheckpoint, state)
            tensors = load_file(place / WEIGHTS), load_file(place / OPTIMIZER)
            best = place / BEST if BEST in files else None
            position = {name: state["position"][name] for name in StoredPosition.__annotations__}
            return Snapshot(*tensors, state["scaler"], position, state.get("run", {}), best)
    except FileNotFoundError as error:
        raise _unusable(place, "incomplete") from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _unusable(place, "damaged") from error
    raise _unusable(place, "damaged")


def read_update(place: Path) -> int | None:
    """Return after how many updates a checkpoint was saved; None when it cannot be read."""
    state = _read_state(place)
    return _update_of(state) if state else None


def drafts(folder: RunFolder) -> list[Path]:
    """Return the halves of checkpoints that were not written to their end."""
    return sorted(path for path in folder.checkpoints.glob(".step-*.tmp") if path.is_dir())


def _read_state(place: Path) -> dict[str, Any] | None:
    """Return a checkpoint's state.json where it says how far the run had come, None where it does not."""
    try:
        state: dict[str, Any] = read_as(StoredCheckpoint, read_json(place / STATE))
        _update_of(state)
    except (OSError, ValueError, KeyError):
        return None
    return state


def _update_of(state: dict[str, Any]) -> int:
    return int(state["position"]["update"])


def _unusable(place: Path, reason: str) -> UnusableCheckpoint:
    return UnusableCheckpoint(tr("The checkpoint {folder} is damaged or incomplete.").format(folder=place), reason)


def _manifest_text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2) + "\n"


def _draft_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.tmp")


def _number(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _set_aside(best: Path, place: Path) -> Path:
    """Return another name of a file, under which it stays as it is when the file is replaced."""
    aside = place.with_name(f".{place.name}.best.tmp")
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.unlink(missing_ok=True)
    try:
        os.link(best, aside)
    except OSError:  # a file system without links
        shutil.copyfile(best, aside)
    return aside


def _on_cpu(value: Tensor, copy: bool) -> Tensor:
    return whole(value.detach()).to("cpu", copy=copy).contiguous()


def _describe(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open_regular(file) as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}
