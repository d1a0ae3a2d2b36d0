"""Writing into a run folder, and only there: a folder of a stranger may hold links to anywhere."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from studio.i18n import tr


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a power loss, sees the old text or the new, never half of one.

    Raises:
        OSError: the text cannot be written; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(open_own(temporary, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power loss could leave the new name with none of its text
        temporary.replace(path)
    finally:
        # What went wrong above is what is raised, also where the draft cannot be removed.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def inside(folder: Path, path: Path) -> Path:
    """Return a path of a run folder.

    Raises:
        OSError: it leads out of the folder: it is a link, or lies behind one.
    """
    if leads_out(folder, path):
        raise OSError(errno.EINVAL, tr("it is a link that leads out of the run folder"), str(path))
    return path


def leads_out(folder: Path, path: Path) -> bool:
    """Return whether a path of a folder lies outside of it where links are followed."""
    real = os.path.realpath(path)  # unlike `Path.resolve`, this raises for no loop of links
    return not Path(real).is_relative_to(os.path.realpath(folder))


def remove(path: Path) -> None:
    """Remove a file, a folder with all that it holds, or a link, but never what a link leads to.

    Raises:
        OSError: something of it stays.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def open_own(path: str | Path, flags: int) -> int:
    """Open a file of a run folder for writing; it is made where there is none.

    Args:
        flags: of `os.open`, such as `os.O_WRONLY | os.O_APPEND`.

    Raises:
        OSError: it cannot be written, or is a link or no regular file: a stranger's folder may point anywhere.
    """
    harmless = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    refused = OSError(errno.EINVAL, tr("it is not a regular file"), str(path))
    if os.path.islink(path):  # noqa: PTH114 - and O_NOFOLLOW, where there is one, for what becomes a link meanwhile
        raise refused
    opened = os.open(path, os.O_CREAT | flags | harmless, 0o666)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise refused
    return opened


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: after a power loss, a file just made or renamed is there.

    It does nothing where the system cannot do it, such as on Windows.

    Raises:
        OSError: the disk failed.
    """
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
