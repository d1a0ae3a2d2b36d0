"""Draw the window with a scripted run and save it as pictures, light and dark, to look at.

    python -m tests.screenshots.render [--look small] [--language zh_CN] [--themes light dark] [OUT] [PAGE…]

OUT is docs/screenshots unless given. A look is the size of the window and its scale, one of `LOOKS`; --language speaks
another language. A page is a function whose name begins with `page_`, in one of the modules beside this one; it returns
the window to draw. Nothing is trained: the run is made of events, as in the tests. `further.py` draws the other looks
and languages that are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from studio.i18n import LANGUAGES, set_language
from studio.ui import theme
from tests.screenshots import (
    chat_pages,
    continuing_pages,
    data_pages,
    export_pages,
    help_pages,
    hub_pages,
    run_pages,
    setup_pages,
)
from tests.screenshots.windows import save

ROOMS = (chat_pages, setup_pages, data_pages, hub_pages, run_pages, export_pages, continuing_pages, help_pages)
PAGES = {
    name.removeprefix("page_"): make
    for pages in ROOMS
    for name, make in vars(pages).items()
    if name.startswith("page_")
}


@dataclass(frozen=True)
class Look:
    """A screen that the window fills: its size as the window sees it, and how many pixels a unit of it has."""

    width: int
    height: int
    scale: float = 1

    def install(self) -> None:
        """Let the application that is made next have this screen."""
        size = {"width": round(self.width * self.scale), "height": round(self.height * self.scale)}
        screen = {"name": "screen", "x": 0, "y": 0, **size, "logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1}
        file = Path(tempfile.mkdtemp(prefix="studio-screen-")) / "screen.json"
        file.write_text(json.dumps({"screens": [screen]}), encoding="utf-8")
        os.environ |= {"QT_QPA_PLATFORM": f"offscreen:configfile={file}", "QT_SCALE_FACTOR": f"{self.scale:g}"}


LOOKS = {
    "usual": Look(1280, 800),
    "small": Look(1024, 640),
    "wide": Look(1920, 1080),
    "scale-1.5": Look(1280, 720, 1.5),
    "scale-2": Look(960, 540, 2),
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--look", choices=LOOKS, default="usual")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--themes", nargs="+", choices=theme.CHOICES[1:], default=["light", "dark"])
    parser.add_argument("--font-size", type=int, choices=theme.FONT_SIZES, default=theme.USUAL_FONT)
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("pages", nargs="*")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    set_language(args.language)
    suffix = "-small" if args.look == "small" else ""
    suffix += "" if args.font_size == theme.USUAL_FONT else f"-{args.font_size}"
    LOOKS[args.look].install()
    app = QApplication([])
    theme.set_font_size(args.font_size)
    theme.install(app, "light")
    for name in args.pages or PAGES:
        for shade in args.themes:
            theme.choose(shade)
            widget = PAGES[name]()
            save(widget, args.out / f"{name.replace('_', '-')}-{shade}{suffix}.png")
            widget.hide()
            widget.deleteLater()
            # Without an event loop of its own Qt keeps what is to be deleted, and repaints all of it at each new theme.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


if __name__ == "__main__":
    main(sys.argv[1:])
