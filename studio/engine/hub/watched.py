"""Downloads that others do, in a process of its own: their progress is how the files grow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from studio.engine.child import Work, run_in_child
from studio.engine.control import Progress


def download_in_child(work: Work, job: Any, watched: Path, size: int, progress: Progress) -> Any:
    """Return `work(job, …)`, a download that is done in a process of its own.

    Progress (stage `downloading`) is the growth of the files below `watched`, in bytes, of the `size` expected: no
    downloader's own progress bar has to be understood for that.

    Raises:
        ChildFailed: it failed.
        Cancelled: by `progress`; the process is then killed, in the middle of a transfer too.
    """
    before = folder_size(watched)
    return run_in_child(work, job, lambda *_: progress("downloading", min(folder_size(watched) - before, size), size))


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below `folder`; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
