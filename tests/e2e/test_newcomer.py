"""The beginning of a newcomer's way, up to the settings of a preset; `newcomer.py` goes all of it, and is run by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_tour_own_rows_columns_and_preset_are_reached(by: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.e2e.newcomer", "--by", by, "--stages", "4"]
    variables = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "take a preset" in done.stdout
