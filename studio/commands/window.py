"""Open the window: what the program does without a command."""

from __future__ import annotations

import argparse
import gc
import os
import sys

from studio.commands.console import Console
from studio.errors import StudioError
from studio.i18n import tr
from studio.runner.opening import Opening, what_opens


def open_window(args: argparse.Namespace, console: Console, opening: Opening | None = None) -> int:
    """Open the window, with something in it where that is given, and return its exit status.

    Where the first window of this home is open, that one comes to the front instead, unless another is asked for.

    Raises:
        StudioError: there is no display, or no Qt.
    """
    if not has_display():
        raise StudioError(
            tr("There is no display here to open a window on; train with: finetune-studio train CONFIG.toml")
        )
    gc.disable()  # the window collects by itself; what is made for it now stays, and looking through it takes time
    try:
        from studio.ui.first_window import ask_first_window

        if not args.new_window and ask_first_window(opening):
            return 0
        from studio.ui.app import main
    except ImportError as error:
        if (error.name or "").startswith("studio"):
            raise
        # A system library that Qt needs, or an installation without Qt.
        raise StudioError(
            tr("The window cannot open: {reason}. packaging/bootstrap.py run names what is missing.").format(
                reason=error
            )
        ) from error
    return main(file=str(opening.path) if opening else "")


def open_file(file: str, args: argparse.Namespace, console: Console) -> int:
    """Open the window with a file. Raises `StudioError` for one with which it can do nothing."""
    return open_window(args, console, what_opens(file))


def has_display() -> bool:
    """Return whether there is a display on which Qt can open a window."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
