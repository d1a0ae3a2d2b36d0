"""Run another program to its end: without a shell, watched for progress, and killed when the user cancels."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from studio.engine.control import Progress

POLL_SECONDS = 0.1


class ChildFailed(Exception):
    """The program ended with an error; the message is the end of what it wrote to its error output."""


def download_with(
    command: Sequence[str], watched: Path, size: int, progress: Progress, environment: Mapping[str, str] | None = None
) -> str:
    """Run `command`, a downloader, and return what it printed.

    Progress (stage `downloading`) is the growth of the files below `watched`, in bytes, of the `size` expected;
    no downloader's own progress bar has to be understood for that.

    Raises:
        ChildFailed: it ended with an error.
        Cancelled: by `progress`; the program is then killed.
    """
    before = folder_size(watched)
    with TemporaryFile() as output, TemporaryFile() as errors:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process:
            try:
                while process.poll() is None:
                    progress("downloading", min(folder_size(watched) - before, size), size)
                    time.sleep(POLL_SECONDS)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise ChildFailed(_text(errors)[-2000:].strip())
        return _text(output)


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


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
