"""Draw the window with a scripted run and save it as pictures, light and dark, to look at.

    python -m tests.screenshots.render [--small] [OUT] [PAGE…]

OUT is docs/screenshots unless given; --small draws a window of 1024 x 640. A page is a function whose name begins with
`page_`, in one of the modules beside this one; it returns the window to draw. Nothing is trained: the run is made of
events, as in the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from studio.ui import theme
from studio.ui.theme import interface_font
from tests.screenshots import chat_pages, continuing_pages, data_pages, export_pages, run_pages, setup_pages
from tests.screenshots.windows import save

ROOMS = (chat_pages, setup_pages, data_pages, run_pages, export_pages, continuing_pages)


def main(arguments: list[str]) -> None:
    suffix = "-small" if "--small" in arguments else ""
    arguments = [argument for argument in arguments if argument != "--small"]
    out = Path(arguments[0] if arguments else "docs/screenshots")
    out.mkdir(parents=True, exist_ok=True)
    wanted = arguments[1:]
    found = {name: make for pages in ROOMS for name, make in vars(pages).items()}
    pages = {name.removeprefix("page_"): make for name, make in found.items() if name.startswith("page_")}
    app = QApplication([])
    app.setFont(interface_font())
    theme.install(app, "light")
    for name in wanted or pages:
        for shade in theme.CHOICES[1:]:
            theme.choose(shade)
            widget = pages[name]()
            save(widget, out / f"{name.replace('_', '-')}-{shade}{suffix}.png")
            widget.hide()
            widget.deleteLater()
            # Without an event loop of its own Qt keeps what is to be deleted, and repaints all of it at each new theme.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


if __name__ == "__main__":
    main(sys.argv[1:])
