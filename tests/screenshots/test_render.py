"""The pictures of the documentation can be drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_page_is_drawn_light_and_dark(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.screenshots.render", str(tmp_path), "method_lora"]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"method-lora-light.png", "method-lora-dark.png"}
