"""What it takes to go on with a run: which were cut off, which are trained elsewhere, and how much more is wanted."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.engine.control import Progress, no_progress
from studio.errors import RunFolderError
from studio.events import CheckpointSaved, RunEvent, StepCompleted, from_json
from studio.files import read_tail
from studio.runs import RunFolder, holder_of, list_runs, read_lock

if TYPE_CHECKING:
    from studio.runner.record import RunRecord

CAN_GO_ON = ("stopped", "failed", "interrupted", "finished")
_WITH_UPDATE = (StepCompleted, CheckpointSaved)
_TAIL = 1 << 18  # bytes: the last step of a journal stands within them, behind samples of the largest models


@dataclass(frozen=True, kw_only=True)
class CutOff:
    """A run whose process is gone.

    Attributes:
        model, method: their names.
        when: the time of its last event, in seconds since the epoch.
        update: the last one that was applied, as far as the journal tells.
        checkpoint: when the newest checkpoint was saved, None without one.
        checkpoint_update: after which update that was; None where the checkpoint does not tell.
    """

    folder: RunFolder
    model: str
    method: str
    when: float
    update: int
    checkpoint: float | None
    checkpoint_update: int | None

    @property
    def key(self) -> str:
        """Names this interruption, to remember that the user dismissed it."""
        return f"{self.folder.name}@{self.when:.0f}"


@dataclass(frozen=True, kw_only=True)
class LeftRuns:
    """`alive` are trained by other processes of this computer, the newest first; `cut_off` by none, newest first."""

    alive: tuple[RunFolder, ...]
    cut_off: tuple[CutOff, ...]


def find_left_runs(root: Path, progress: Progress = no_progress) -> LeftRuns:
    """Look through the runs below a folder for those that go on without this window, and those that were cut off."""
    alive, cut_off = [], []
    folders = list_runs(root)
    for done, folder in enumerate(folders):
        progress("reading_runs", done, len(folders))
        try:
            state = folder.read_state()
        except RunFolderError:
            continue  # the Runs page says so
        if state["status"] == "interrupted":
            cut_off.append(_cut_off(folder, state))
        elif lives_elsewhere(folder) == "process":
            alive.append(folder)
    return LeftRuns(alive=tuple(alive), cut_off=tuple(sorted(cut_off, key=lambda run: run.when, reverse=True)))


def lives_elsewhere(folder: RunFolder) -> Literal["", "process", "computer"]:
    """Return where a run is trained, if not by this process: by another one, or on another computer."""
    holder = read_lock(folder.path)
    if holder is None or holder.presence == "dead" or holder == holder_of(os.getpid()):
        return ""
    return "computer" if holder.presence == "elsewhere" else "process"


def more_epochs(record: RunRecord, epochs: float) -> list[str]:
    """Return the settings, as `section.key=value`, that let a run go on for so many epochs more.

    Raises:
        ConfigError: the run's configuration cannot be read.
    """
    training, state = record.configs[-1][1].training, record.state
    if training.max_steps is None:
        return [f"training.epochs={training.epochs + epochs}"]
    updates = round(epochs * state.update / state.epoch) if state.epoch else 1
    return [f"training.max_steps={training.max_steps + max(1, updates)}"]


def _cut_off(folder: RunFolder, state: dict[str, Any]) -> CutOff:
    steps = {event.step: event.update for event in _last_events(folder) if isinstance(event, _WITH_UPDATE)}
    checkpoint = next(iter(folder.list_checkpoints()), None)
    model = state.get("model")
    return CutOff(
        folder=folder,
        model=str(model.get("name", "")) if isinstance(model, dict) else "",
        method=str(state.get("method", "")),
        when=_time_of(folder.journal) or _time_of(folder.state) or 0.0,
        update=max(steps.values(), default=0),
        checkpoint=_time_of(checkpoint / "manifest.json") if checkpoint else None,
        checkpoint_update=steps.get(int(checkpoint.name.removeprefix("step-"))) if checkpoint else None,
    )


def _last_events(folder: RunFolder) -> list[RunEvent]:
    """Return what stands at the end of a journal; a line that is cut is left out."""
    try:
        lines = read_tail(folder.journal, _TAIL).splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(from_json(line))
    return found


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
