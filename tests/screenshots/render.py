"""Draw the window with a scripted run and save it as pictures, light and dark, to look at.

    python -m tests.screenshots.render [--small] [--language zh_CN] [OUT] [PAGE…]

OUT is docs/screenshots unless given; --small draws a window of 1024 x 640, --language speaks another language. A page is a function whose name begins with
`page_`, in one of the modules beside this one; it returns the window to draw. Nothing is trained: the run is made of
events, as in the tests.
"""

from __future__ import annotations

import argparse
import sys
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


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--themes", nargs="+", choices=theme.CHOICES[1:], default=["light", "dark"])
    parser.add_argument("--font-size", type=int, choices=theme.FONT_SIZES, default=theme.USUAL_FONT)
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("pages", nargs="*")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    set_language(args.language)
    suffix = ("" if args.language == "en" else f"-{args.language}") + ("-small" if args.small else "")
    suffix += "" if args.font_size == theme.USUAL_FONT else f"-{args.font_size}"
    found = {name: make for pages in ROOMS for name, make in vars(pages).items()}
    pages = {name.removeprefix("page_"): make for name, make in found.items() if name.startswith("page_")}
    app = QApplication([])
    theme.set_font_size(args.font_size)
    theme.install(app, "light")
    for name in args.pages or pages:
        for shade in args.themes:
            theme.choose(shade)
            widget = pages[name]()
            save(widget, args.out / f"{name.replace('_', '-')}-{shade}{suffix}.png")
            widget.hide()
            widget.deleteLater()
            # Without an event loop of its own Qt keeps what is to be deleted, and repaints all of it at each new theme.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


if __name__ == "__main__":
    main(sys.argv[1:])
