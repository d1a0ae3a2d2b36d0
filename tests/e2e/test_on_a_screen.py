"""The same tests on a real screen: X11, with its own way of drawing, menus and focus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage

from tests.e2e.screen import NO_SCREEN, SIZE, can_make_screen, virtual_screen

HERE = Path(__file__).parent
TESTS = {
    "test_real_window.py": ("real-setup", "real-train", "real-export", "real-chat"),
    "test_overflow.py": ("real-overflow",),
}


@pytest.mark.skipif(not can_make_screen(), reason=NO_SCREEN)
@pytest.mark.usefixtures("starter")  # fetched before, and shared with the tests off the screen
@pytest.mark.parametrize("file", TESTS)
def test_the_window_does_on_a_real_screen_what_it_does_off_it(file: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)]
    with virtual_screen() as variables:
        variables["FINETUNE_STUDIO_SCREENSHOTS"] = str(tmp_path)
        done = subprocess.run(
            command, cwd=HERE.parents[1], env=os.environ | variables, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in TESTS[file]:
        assert QImage(str(tmp_path / f"{name}.png")).size() == QSize(*SIZE)
