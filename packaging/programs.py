"""Run programs of the set-up, and never be silent for long while they do."""

from __future__ import annotations

import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from studio.i18n import tr  # the program's own words; the standard library is enough

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 2.5  # seconds without a word before the progress is told
PROGRESS = re.compile(r"Progress (\d+) of (\d+)")  # what pip writes with --progress-bar raw


class SetupError(Exception):
    """Why the set-up cannot go on: one sentence for the user."""


def call(command: list[str], environment: dict[str, str] | None = None, *, quiet: bool = False, aloud: str = "") -> int:
    """Run a program in the project's folder; return its exit status.

    Args:
        quiet: its output is thrown away.
        aloud: a folder that the program fills. How far it is is told whenever it says nothing for `PATIENCE` seconds.
    """
    if aloud:
        return _call_aloud(command, environment, aloud)
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode


def say(text: str) -> None:
    print(text, flush=True)


def script(venv: Path, name: str, platform: str = sys.platform) -> Path:
    """Return where a virtual environment keeps a program."""
    return venv / "Scripts" / f"{name}.exe" if platform == "win32" else venv / "bin" / name


def _call_aloud(command: list[str], environment: dict[str, str] | None, folder: str) -> int:
    # The disk is asked, not the folder: counting the 60,000 files of an environment takes seconds while pip writes.
    began, free = time.monotonic(), shutil.disk_usage(folder).free
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        lines = _lines_of(process)
        received, said = "", began
        while True:
            try:
                line = lines.get(timeout=max(0.0, said + PATIENCE - time.monotonic()))
            except queue.Empty:
                taken = max(0, free - shutil.disk_usage(folder).free) / 1e9
                words = tr("{seconds} s{received}, {taken} GB of disk taken")
                seconds = f"{time.monotonic() - began:.0f}"
                line = "  … " + words.format(seconds=seconds, received=received, taken=f"{taken:.2f}")
            if line is None:
                break
            if found := PROGRESS.fullmatch(line):
                got, whole = (f"{int(count) / 1e6:.1f}" for count in found.groups())
                received = tr(", {got} of {whole} MB received").format(got=got, whole=whole)
                continue
            if not line.startswith("  …"):
                received = ""
            say(line)
            said = time.monotonic()
    return process.returncode


def _lines_of(process: subprocess.Popen[str]) -> queue.SimpleQueue[str | None]:
    """Return where a thread puts each line that a program writes, and None when it writes no more."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines
