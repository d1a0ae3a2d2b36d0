"""The real window with the real model, on a real screen: X11, with its own way of drawing, menus and focus.

Where Xvfb is not installed it is drawn off the screen.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage

from tests.e2e.screen import SIZE, can_make_screen, virtual_screen

HERE = Path(__file__).parent
PICTURES = ("real-setup", "real-train", "real-export", "real-chat")


@pytest.mark.usefixtures("starter")  # fetched before
def test_a_person_fine_tunes_and_exports_a_real_model_on_a_screen(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "real_window.py")]
    with virtual_screen() if can_make_screen() else contextlib.nullcontext(dict[str, str]()) as variables:
        variables["FINETUNE_STUDIO_SCREENSHOTS"] = str(tmp_path)
        done = subprocess.run(
            command, cwd=HERE.parents[1], env=os.environ | variables, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in PICTURES:
        assert QImage(str(tmp_path / f"{name}.png")).size() == QSize(*SIZE)
