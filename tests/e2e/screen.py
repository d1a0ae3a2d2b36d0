"""A screen that exists in memory alone, for what must be drawn on a real one (X11, by Xvfb)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = (1280, 800)


def can_make_screen() -> bool:
    """Return whether Xvfb is installed."""
    return shutil.which("Xvfb") is not None


@contextmanager
def virtual_screen() -> Iterator[dict[str, str]]:
    """Start Xvfb on a free display; yield the variables that make Qt draw there. It ends with the block."""
    reading, writing = os.pipe()
    width, height = SIZE
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.PIPE)
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()  # empty when Xvfb ends without a display
        if not number:
            _, words = server.communicate()
            raise RuntimeError(f"Xvfb did not start: {words.decode(errors='replace')}")
        yield {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        server.terminate()
        server.communicate()
