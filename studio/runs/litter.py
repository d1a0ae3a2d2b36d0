"""What programs that were cut off left behind in a folder of runs: found, and removed once they are gone."""

from __future__ import annotations

import logging
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from studio.files import is_file
from studio.runs.files import leads_out, remove
from studio.runs.lock import holder_of, read_lock

log = logging.getLogger(__name__)

# Drafts that name their process: of text files, results, exports, and whole run folders.
_OF_PROCESS = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(?P<end>tmp|partial|old)")
# Drafts that only the run's own process makes: of checkpoints, of the best weights, of safetensors.
_OF_RUN = {
    "checkpoints": re.compile(r"\.step-\d+(?:\.best)?\.tmp|best\.tmp"),
    "adapter": re.compile(r"\.tmp.*"),
}
_RUN_NAME = re.compile(r"\d{8}-\d{6}-[a-z0-9-]+")
# All that a run folder can hold before its state.json is written.
_UNBORN = re.compile(r"config\.toml|lock|\.(?:config\.toml|lock|state\.json)\.\d+\.tmp")
UNBORN_SECONDS = 600.0
EXPORT_SECONDS = 3600.0


def draft_name(name: str, end: Literal["partial", "old"]) -> str:
    """Return what a folder is called while this process makes it, or puts another one in its place."""
    return f".{name}.{_computer()}.{os.getpid()}.{end}"


def remove_litter(root: Path, own: Path) -> None:
    """Remove drafts whose process is gone, and run folders that never came to a state, below a folder of runs.

    Nothing else is touched: no file of a run under way, and no name that this program does not give.

    Args:
        own: the run folder that this process holds, and has not written a draft in yet.
    """
    for path in _find_litter(root, own):
        _remove(path)


def remove_drafts(folder: Path) -> None:
    """Remove drafts that have a name of `draft_name`, and whose process on this computer is gone."""
    for path in _children(folder):
        if _is_left(path) and _names_this_computer(path):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a draft. What was only moved aside is put back where its place is empty."""
    found = _OF_PROCESS.fullmatch(path.name)
    place = path.with_name(found["name"].removesuffix(f".{_computer()}")) if found and found["end"] == "old" else path
    try:
        if not os.path.lexists(place):
            path.rename(place)
            log.info("Moved %s back to %s: the process that moved it is gone", path, place)
            return
        remove(path)
    except OSError as error:
        log.warning("What is left of a process that is gone cannot be removed: %s", error)
    else:
        log.info("Removed %s: its process is gone", path)


def _find_litter(root: Path, own: Path) -> Iterator[Path]:
    for child in _children(root):
        if child.is_symlink() or not child.is_dir() or (child != own and _is_held(child)):
            continue
        if is_file(child / "state.json") and not child.name.startswith("."):
            yield from _in_run(child)
        elif _is_left(child) or _is_unborn(child):
            yield child


def _in_run(run: Path) -> Iterator[Path]:
    yield from (path for path in _children(run) if _is_left(path))
    # No lock tells of an export that another computer writes.
    for path in _children_inside(run, "exports"):
        if _is_left(path) and (_names_this_computer(path) or _age(path) > EXPORT_SECONDS):
            yield path
    for name, draft in _OF_RUN.items():
        yield from (path for path in _children_inside(run, name) if draft.fullmatch(path.name))


def _is_left(path: Path) -> bool:
    """Whether a path is a draft, and the process that its name tells is gone."""
    found = _OF_PROCESS.fullmatch(path.name)
    return found is not None and holder_of(int(found["process"][:9])).presence == "dead"


def _names_this_computer(path: Path) -> bool:
    return path.name.split(".")[-3] == _computer()


def _computer() -> str:
    """Return the name of this computer as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:32] or "computer"


def _is_unborn(folder: Path) -> bool:
    """Whether a run folder was cut off as it was made."""
    return (
        _RUN_NAME.fullmatch(folder.name) is not None
        and all(_UNBORN.fullmatch(path.name) for path in _children(folder))
        and _age(folder) > UNBORN_SECONDS
    )


def _is_held(folder: Path) -> bool:
    holder = read_lock(folder)
    return holder is not None and holder.presence != "dead"


def _age(path: Path) -> float:
    """Return the seconds since something was written in a folder; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _children_inside(run: Path, name: str) -> list[Path]:
    """Return what is in a part of a run folder; nothing where that is a link out of it."""
    return [] if leads_out(run, run / name) else _children(run / name)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
