"""Gather what the installers for Windows and macOS hold: a Python that can be moved, and the program.

    uv python install 3.12 --install-dir FOLDER      a build of python-build-standalone, its sum checked by uv
    python packaging/portable.py OUT --python FOLDER/cpython-3.12...

OUT then has `python`, `program`, and `icons` with the icon in all sizes and as an .ico file. The packaging folders of
each system make an installer of it. Run it with the Python of an environment that has Qt, which draws the icons.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import bundle
import desktop
from programs import say


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--python", type=Path, required=True, metavar="FOLDER", help="the Python that can be moved")
    options = parser.parse_args(arguments)
    gather(options.python, options.out)
    say(f"{options.out}: version {desktop.version()}")
    return 0


def gather(python: Path, out: Path) -> None:
    """Write everything below `out`, which must not exist."""
    shutil.copytree(python, out / "python", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    bundle.copy_program(out / "program")
    desktop.write_icons(out / "icons")
    write_ico(out / "icons" / f"{desktop.NAME}.ico")


def write_ico(file: Path) -> None:
    """Write the icon for Windows; it scales the one size that Qt writes."""
    from PySide6.QtGui import QImage

    largest = file.parent / "256x256" / "apps" / f"{desktop.NAME}.png"
    if not QImage(str(largest)).save(str(file)):
        raise OSError(f"{file} could not be written")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
