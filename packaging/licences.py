"""Write THIRD_PARTY.md again, from what is installed: `.venv/bin/python packaging/licences.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from studio.licences import Component, components

FILE = Path(__file__).resolve().parents[1] / "THIRD_PARTY.md"
HEADER = """\
# Programs of others

Finetune Studio itself is under the [Apache License 2.0](LICENSE). pip installs the programs below with it, unchanged,
each in a folder of its own; none of them lies in this repository. `packaging/licences.py` writes this file from what
they declare, and Help > About shows the same, with the whole texts, for what is installed.

## Qt and PySide6: the GNU Lesser General Public License

The window is drawn by Qt and PySide6 (`PySide6_Essentials`, `shiboken6`), used under version 3 of the
[LGPL](resources/licences/LGPL-3.0.txt), which adds to the [GPL](resources/licences/GPL-3.0.txt). What it asks for:

- You are told that they are used, and have both texts: here, and in the wheel.
- You may replace them. They are shared libraries in `site-packages/PySide6` and `site-packages/shiboken6`, which Python
  loads when the window opens. `pip install` of another build of the same version, your own included, takes their place;
  nothing in Finetune Studio prevents that, and you may take it apart to make it work.
- Their source is at https://code.qt.io/cgit/pyside/pyside-setup.git and https://code.qt.io/cgit/qt/.

Whoever passes on a bundle with Qt inside, such as an installer, must keep all three.

## The Mozilla Public License

`certifi` and parts of `tqdm` are under the MPL 2.0. They are not changed; their source is at their pages.

## NVIDIA's libraries

On Linux the CUDA builds of torch bring `nvidia-*` and `cuda-*` packages, under NVIDIA's own licences and not free ones.
A computer without a card has none of them. `liger-kernel` and `nvidia-ml-py` come with a card as well.
`packaging/locked/cuda.txt` and `gpu.txt` name them, and About shows their licences where they are installed.

## All

| Program | Version | Licence | Page |
|---|---|---|---|
"""


def main() -> int:
    FILE.write_text(document(components()), encoding="utf-8", newline="\n")
    return 0


def document(found: list[Component]) -> str:
    """Return the whole file."""
    rows = (f"| {each.name} | {each.version.partition('+')[0]} | {each.licence} | {each.page} |\n" for each in found)
    return HEADER + "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
