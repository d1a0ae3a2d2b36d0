"""The lock of a run folder (DESIGN.md 3.3): which process trains the run, and whether it is still there.

A run whose state says that it runs, and whose process is gone, was interrupted. No run is started twice.
`torchrun` starts a process that dies again: as long as `torchrun` lives, the run is not over.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, TypeAlias

from studio.errors import RunFolderError
from studio.files import open_regular
from studio.i18n import tr
from studio.runs.files import write_atomically

LOCK = "lock"

Presence: TypeAlias = Literal["alive", "dead", "elsewhere"]


@dataclass(frozen=True)
class Holder:
    """A process that trains a run.

    Attributes:
        process: its number.
        started: when it started, in the words of its system: another process with the same number differs in it.
            Empty where the process was gone already.
        host: the name of its computer.
        torchrun: the number of the `torchrun` that starts it again where it dies; 0 where none does.
        torchrun_started: when that started.
        launch: the id of all processes that `torchrun` started together, on any computer; the same after a restart.
            Empty where none did, or nobody gave an id.
    """

    process: int
    started: str
    host: str
    torchrun: int = field(default=0, compare=False)
    torchrun_started: str = field(default="", compare=False)
    launch: str = field(default="", compare=False)

    @property
    def presence(self) -> Presence:
        """Whether the process is alive, or can come again; elsewhere: on another computer, of which nothing can be
        known here.
        """
        if self.host != platform.node():
            return "elsewhere"
        return "alive" if _lives(self.process, self.started) or self.comes_again else "dead"

    @property
    def comes_again(self) -> bool:
        """Whether a `torchrun` may start the process again: one that lives here, or one of another computer.

        Of that one nothing can be known here. But a process that is not started again removes its lock.
        """
        here = self.host == platform.node()
        return self.torchrun != 0 and (not here or _lives(self.torchrun, self.torchrun_started))


def holder_of(process: int) -> Holder:
    """Describe a process of this computer by its number."""
    return Holder(process, _start_of(process), platform.node())


def _this_process() -> Holder:
    me = holder_of(os.getpid())
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return me
    launch = os.environ["TORCHELASTIC_RUN_ID"].removeprefix("none")  # none: torchrun's own default, of any launch
    return replace(me, torchrun=os.getppid(), torchrun_started=_start_of(os.getppid()), launch=launch)


def read_lock(folder: Path) -> Holder | None:
    """Return who holds the lock of a run folder; None where nobody does, or the lock is damaged."""
    path = folder / LOCK
    try:
        with open_regular(path) as file:
            values = json.loads(file.read(4096))
        holder = Holder(**{one.name: values[one.name] for one in fields(Holder) if one.name in values})
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    numbers = holder.process, holder.torchrun
    words = holder.started, holder.host, holder.torchrun_started, holder.launch
    known = all(type(one) is int for one in numbers) and all(isinstance(one, str) for one in words)
    return holder if known else None


def take_lock(folder: Path, holder: Holder | None = None) -> None:
    """Let a process, this one unless told otherwise, be the one that trains the run.

    A process may take its own lock again, and may hand it over to another process (`holder`). The lock of a process
    that is gone is taken over, and so is that of the process in whose place `torchrun` started this one.

    Raises:
        RunFolderError: another process trains the run, or the lock cannot be written.
    """
    me = _this_process()
    holder = holder or me
    try:
        with one_at_a_time(folder):
            present = read_lock(folder)
            free = present in (None, me, holder) or present.presence == "dead" or _in_place_of(present, me)
            if present and not free:
                raise RunFolderError(_taken(folder, present))
            write_atomically(folder / LOCK, json.dumps(asdict(holder)) + "\n")
    except OSError as error:
        raise RunFolderError(
            tr("The run folder {path} cannot be written: {reason}.").format(path=folder, reason=error.strerror)
        ) from error


def inherit_lock(folder: Path) -> None:
    """Take the lock that a process holds which started this one, at whatever distance; leave any other lock alone.

    Raises:
        OSError: the lock cannot be written.
    """
    import psutil

    with one_at_a_time(folder):
        present = read_lock(folder)
        # A virtual environment on Windows starts Python through a process in between.
        if (
            present
            and present.presence == "alive"
            and present.process in {one.pid for one in psutil.Process().parents()}
        ):
            write_atomically(folder / LOCK, json.dumps(asdict(_this_process())) + "\n")


def release_lock(folder: Path) -> None:
    """Give up this process's lock, where it has one.

    Raises:
        OSError: the lock cannot be removed.
    """
    if read_lock(folder) == holder_of(os.getpid()):
        (folder / LOCK).unlink(missing_ok=True)


def may_come_again() -> bool:
    """Return whether `torchrun` starts this process again if it ends with an error."""
    count, most = (int(os.environ.get(f"TORCHELASTIC_{name}", "0")) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    return count < most


def _in_place_of(before: Holder, now: Holder) -> bool:
    """Whether `torchrun` ended one process and started the other: the first of several may be on another computer."""
    if before.host != now.host:
        restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        return restarted and before.launch == now.launch != ""
    return before.comes_again and (before.torchrun, before.torchrun_started) == (now.torchrun, now.torchrun_started)


def _taken(folder: Path, holder: Holder) -> str:
    if holder.presence == "elsewhere":
        return tr(
            "{path} is being trained on the computer {host}; if that has ended, delete the file {lock} in it."
        ).format(path=folder, host=holder.host, lock=LOCK)
    return tr("{path} is being trained by another process, number {process}.").format(
        path=folder, process=holder.process
    )


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time look at files in a folder and change them, such as the lock.

    Some network disks, and Windows, cannot promise that.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _lives(process: int, started: str) -> bool:
    return started != "" and started == _start_of(process)


def _start_of(process: int) -> str:
    """Return when a process started; empty where there is none, or only its exit status is left of it."""
    if platform.system() == "Linux":
        try:
            # The name, in parentheses, may contain blanks. After it come the state and, as 20th field, the start in
            # ticks since the system started: so the system's start belongs to it.
            line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            fields = line.rpartition(")")[2].split()
            system = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else f"{system} {fields[19]}"
    import psutil

    try:
        found = psutil.Process(process)
        return "" if found.status() == psutil.STATUS_ZOMBIE else repr(found.create_time())
    except (psutil.Error, ValueError, OverflowError):
        return ""
