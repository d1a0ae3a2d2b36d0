"""The run folder of DESIGN.md 3.3: everything that is known of one run, readable without torch.

config.toml  state.json  events.jsonl  run.log  lock  label.json  checkpoints/  adapter/  exports/NAME/
and, of a process of its own: commands.jsonl  progress.json  process.log
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from studio.errors import RunFolderError
from studio.files import expand_user, is_file
from studio.i18n import tr
from studio.runs.files import inside, leads_out, sync_folder, write_atomically
from studio.runs.label import LABEL
from studio.runs.lock import LOCK, read_lock, take_lock
from studio.runs.read import StoredState, read_stored

Marks: TypeAlias = tuple[tuple[int, int, int] | None, ...]
Status = Literal["created", "running", "paused", "stopped", "finished", "failed", "interrupted"]
UNDER_WAY = ("created", "running", "paused")
FORMAT_VERSION = 1
RESTART_SECONDS = 900.0
"""In which `torchrun` ends all processes of a run, starts them again, and they write something."""
TICK = 2_000_000_000
"""Nanoseconds between two times that a disk can tell apart; FAT's are the coarsest."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. The path is absolute; nothing is read until it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def journal(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def commands(self) -> Path:
        """What the run was told from other processes, one JSON object a line."""
        return self.path / "commands.jsonl"

    @property
    def progress(self) -> Path:
        """How far the present stage is, of a run in a process of its own."""
        return self.path / "progress.json"

    @property
    def output(self) -> Path:
        """What a process of its own wrote to its error output."""
        return self.path / "process.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Return where the checkpoint after an attempted step is, or will be."""
        return self.checkpoints / f"step-{step:06d}"

    def list_checkpoints(self) -> list[Path]:
        """Return the complete checkpoints that lie in this folder, newest first."""
        numbered = (path for path in self.checkpoints.glob("step-*") if re.fullmatch(r"step-[0-9]{1,12}", path.name))
        manifests = (path / "manifest.json" for path in numbered)
        found = [path.parent for path in manifests if is_file(path) and not leads_out(self.path, path)]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def has_result(self) -> bool:
        """Whether there is a trained part, or a complete checkpoint that stands for it."""
        return any(is_file(path) for path in self.adapter.glob("*.safetensors")) or bool(self.list_checkpoints())

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    def inside(self, path: Path) -> Path:
        """Return a path of this folder. Raises `OSError` where it leads out of it."""
        return inside(self.path, path)

    def check_links(self) -> None:
        """Refuse a folder with links that lead out of it: a stranger could have files of the user read or deleted.

        Exports may be links. What is in `exports` is only made, looked at and verified.

        Raises:
            RunFolderError: there is such a link.
        """
        for place, folders, files in os.walk(self.path):
            if Path(place) == self.path and self.exports.name in folders:
                folders.remove(self.exports.name)
            for path in (Path(place, name) for name in (*folders, *files)):
                if leads_out(self.path, path):
                    words = tr(
                        "{path} is a link that leads out of the run folder, to {target}. Such a run is not used; if "
                        "the link is your own, replace it by what it leads to."
                    )
                    raise RunFolderError(words.format(path=path, target=os.path.realpath(path)))

    @property
    def held(self) -> bool:
        """Whether a process trains this run, or may do so on another computer."""
        holder = read_lock(self.path)
        return holder is not None and holder.presence != "dead"

    @property
    def comes_again(self) -> bool:
        """Whether `torchrun` trains this run, and starts it again where it fails; elsewhere, for a while at most."""
        holder = read_lock(self.path)
        if holder is None or not holder.comes_again:
            return False
        return holder.presence != "elsewhere" or time.time() - self.written < RESTART_SECONDS

    @property
    def computer(self) -> str:
        """The name of the other computer that trains this run, or did when it was last heard of; empty where none."""
        holder = read_lock(self.path)
        return holder.host if holder is not None and holder.presence == "elsewhere" else ""

    @property
    def written(self) -> float:
        """When the run was last heard of: its journal or its state was written, in seconds since 1970."""
        times = [file.stat().st_mtime for file in (self.journal, self.state) if is_file(file)]
        return max(times, default=0.0)

    @property
    def marks(self) -> Marks | None:
        """Size, time and number of all that can be read of this run beside its journal: while they are the same, so is
        that. None where they do not tell: a process holds the run, or something has just been written, and may be
        written again before the clock of the disk goes on.
        """
        if os.path.lexists(self.path / LOCK):
            return None
        found = [_mark(path) for path in (self.state, self.config, self.path / LABEL, self.adapter, self.checkpoints)]
        newest = max((mark[1] for mark in found if mark), default=0)
        return tuple(found) if newest < time.time_ns() - TICK else None

    def read_state(self) -> dict[str, Any]:
        """Return state.json. A run that is said to be under way and that no process trains was interrupted; one that
        failed and that `torchrun` starts again is under way.

        Raises:
            RunFolderError: state.json is missing or damaged.
        """
        if not is_file(self.state):
            raise RunFolderError(tr("{path} is not a run folder: it has no state.json.").format(path=self.path))
        state = read_stored(self.state, StoredState)
        if state.get("status") not in get_args(Status):
            raise RunFolderError(tr("The state.json in {path} names no known status.").format(path=self.path))
        if state["status"] in UNDER_WAY and not self.held:
            state["status"] = "interrupted"
        elif state["status"] == "failed" and self.comes_again:
            state["status"] = "running"
        return state

    def write_state(self, status: Status, **details: Any) -> None:
        """Replace state.json atomically; `details` are kept over later calls unless given again."""
        before = self.read_state() if self.state.exists() else {}
        state = before | details | {"format": FORMAT_VERSION, "status": status, "changed": time.time()}
        write_atomically(self.state, json.dumps(state, ensure_ascii=False, indent=2) + "\n")


def create_run(root: Path, label: str, config: str, **details: Any) -> RunFolder:
    """Create a new run folder below `root`, named by the time and a label made of safe characters.

    This process holds its lock from the beginning.

    Args:
        config: the fully resolved configuration as TOML; it is written once.
        details: more for state.json.

    Raises:
        RunFolderError: the folder cannot be made or written.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60] or "run"
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{safe}"
    # Made beside its place: whatever stops the process before leaves no half of a run.
    draft = RunFolder(root.absolute() / f".{stem}.{os.getpid()}.partial")
    try:
        draft.path.mkdir(parents=True)
        take_lock(draft.path)
        write_atomically(draft.config, config)
        draft.write_state("created", created=time.time(), **details)
        folder = RunFolder(_move_to_free_name(draft.path, stem))
        sync_folder(root)
    except OSError as error:
        raise RunFolderError(
            tr("No run folder can be written below {root}: {reason}.").format(root=root, reason=error.strerror)
        ) from error
    finally:
        shutil.rmtree(draft.path, ignore_errors=True)
    return folder


def open_run(path: Path) -> RunFolder:
    """Return the run folder at `path`. Raises `RunFolderError` when it is none."""
    folder = RunFolder(expand_user(path).absolute())
    folder.read_state()
    return folder


def find_runs(root: Path) -> list[RunFolder]:
    """Return the run folders below `root` in no order; other folders are passed over."""
    if not root.is_dir():
        return []
    found = (RunFolder(child.absolute()) for child in root.iterdir() if not child.name.startswith("."))
    return [run for run in found if is_file(run.state)]


def list_runs(root: Path) -> list[RunFolder]:
    """Return the run folders below `root`, the one made last first."""
    return sorted(find_runs(root), key=_age, reverse=True)


def _age(run: RunFolder) -> tuple[float, str]:
    """When a run was made; of a damaged one, when its state was written."""
    try:
        created = run.read_state().get("created")
    except RunFolderError:
        created = None
    return created if isinstance(created, float) else run.state.stat().st_mtime, run.name


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _move_to_free_name(draft: Path, stem: str) -> Path:
    for attempt in range(1, 1000):
        path = draft.with_name(stem if attempt == 1 else f"{stem}-{attempt}")
        if path.exists():
            continue
        try:
            return draft.rename(path)
        except FileExistsError:
            continue  # made by another process since we looked
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    raise FileExistsError(errno.EEXIST, "too many runs of the same name", str(draft.with_name(stem)))
