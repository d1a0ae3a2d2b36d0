"""The pictures of the documentation can be drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QImage

from tests.screenshots.windows import COLOURS, with_palette

# One of each module of pages.
PAGES = (
    "chat",
    "method_lora",
    "columns_asked",
    "find_model_here",
    "laboratory_comparison",
    "export_gguf",
    "continue_changed",
)


def test_pages_are_drawn_light_and_dark(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.screenshots.render", "--look", "scale-2", str(tmp_path), *PAGES]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    wanted = {f"{page.replace('_', '-')}-{shade}.png" for page in PAGES for shade in ("light", "dark")}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert QImage(str(tmp_path / "method-lora-dark.png")).size() == QSize(1920, 1080)


def test_a_colour_of_a_few_pixels_stays() -> None:
    picture = QImage(100, 100, QImage.Format.Format_RGB32)
    for x in range(100):
        for y in range(100):
            picture.setPixelColor(x, y, QColor(2 * x, 2 * y, 200))
    picture.setPixelColor(50, 50, QColor(20, 160, 60))
    saved = with_palette(picture)
    found = saved.pixelColor(50, 50)
    assert saved.colorCount() <= COLOURS
    assert (found.red(), found.green(), found.blue()) == (20, 160, 60)
