"""A few of the failing writes and kills that `writes.py` and `kills.py` try by the hundred when run by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="it forks, and asks Linux which file a number stands for"
)


def run(script: str, *arguments: int) -> str:
    """Run a script, which has to find nothing wrong; return what it printed."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "crashes" / script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout


def test_a_killed_run_goes_on_as_if_nothing_had_happened() -> None:
    said = run("kills.py", 4, 1)
    assert "4 kills" in said
    assert "0 wrong" in said


def test_a_write_that_fails_is_told_and_costs_nothing_that_was_trained() -> None:
    """One write of each part of a run: its folder, its state, its journal, its checkpoints, its result."""
    assert "0 wrong" in run("writes.py", 9, 27)
