"""Draw what docs/screenshots keeps in folders of its own: Chinese, a large screen, and screens with larger pixels.

    python -m tests.screenshots.further [FOLDER…]

Without a folder it draws all of them, which takes a quarter of an hour.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.screenshots.render import PAGES

OUT = Path("docs/screenshots")
CHIEF = (
    "setup",
    "method_layers",
    "columns",
    "model_base_or_chat",
    "memory_not_enough",
    "train_kept",
    "numerics_chronic",
    "chat",
    "export",
    "runs",
    "presets",
    "find_model",
    "hub_dataset",
    "xray",
    "method_comparison",
    "precision_probe",
    "laboratory_comparison",
    "runs_comparison",
    "continue_cut_off",
    "continue_cluster",
    "continue_queue",
    "guide",
    "tour_start",
    "about_licences",
)


@dataclass(frozen=True)
class Set:
    """Pages that are drawn in one look; where not both themes are, light and dark take turns."""

    look: str = "usual"
    language: str = "zh_CN"
    pages: tuple[str, ...] = tuple(PAGES)
    both_themes: bool = False

    def draw(self, folder: Path) -> None:
        """Draw them in processes of their own, since a process has one scale."""
        step = 1 if self.both_themes else 2
        for place, theme in enumerate(("light", "dark")):
            pages = self.pages[place % step :: step]
            options = ["--look", self.look, "--language", self.language, "--themes", theme]
            command = [sys.executable, "-m", "tests.screenshots.render", *options, "--", str(folder), *pages]
            subprocess.run(command, check=True)


SETS = {
    "zh_CN": (Set(both_themes=True), Set("small")),
    "wide": (Set("wide", pages=CHIEF),),
    "scale-1.5": (Set("scale-1.5", pages=CHIEF),),
    "scale-2": (Set("scale-2", pages=CHIEF),),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or SETS:
        for part in SETS[name]:
            part.draw(OUT / name)
