"""Text files that are whole or absent, whatever stops the process or the machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a power loss, sees the old text or the new, never half of one.

    Raises:
        OSError: the text cannot be written; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power loss could leave the new name with none of its text
        temporary.replace(path)
    finally:
        # What went wrong above is what is raised, also where the draft cannot be removed.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


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
