"""The font of the window: the system's own, never too small, with Chinese in the same line."""

from __future__ import annotations

import sys

from PySide6.QtGui import QFont, QFontDatabase

SMALLEST_POINTS = 10.0
# A bare Linux session names no font; of these the first that is installed is taken before fontconfig's last resort.
_LINUX = ("Inter", "Noto Sans", "Cantarell", "Ubuntu", "Open Sans", "DejaVu Sans")
_CHINESE = ("PingFang SC", "Microsoft YaHei UI", "Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei")
_UNNAMED = ("Sans Serif", "Sans", "sans-serif", "")


def interface_font() -> QFont:
    """Return the font to give to the application."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    installed = set(QFontDatabase.families())
    first = font.family()
    if sys.platform.startswith("linux") and first in _UNNAMED:
        first = next((family for family in _LINUX if family in installed), first)
    font.setFamilies([first, *(family for family in _CHINESE if family in installed)])
    font.setPointSizeF(max(font.pointSizeF(), SMALLEST_POINTS))
    return font
