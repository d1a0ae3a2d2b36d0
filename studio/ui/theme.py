"""Colours, type scale and rhythm of the window, light and dark: the one place that knows a colour or a distance.

Every size grows from the height of the application's font, so that the window scales with what the user reads best.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, cast

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QPalette
from PySide6.QtWidgets import QApplication

from studio.paths import resource

Choice = Literal["system", "light", "dark", "contrast"]
CHOICES: tuple[Choice, ...] = ("system", "light", "dark", "contrast")
# Sizes of the font to choose from, in per cent of the usual one.
FONT_SIZES = (80, 90, 100, 110, 125, 150, 175, 200)
USUAL_FONT = 100
MOST_CURVES = 6
"""Curves of one plot whose colours, `series_1` to `series_6`, can still be told from one another."""

# The type scale, as multiples of the application's font.
TITLE, HEADING, CAPTION = 1.7, 1.2, 0.92


@dataclass(frozen=True)
class Palette:
    """The colours by purpose. Text on window, surface and raised has a contrast of at least 4.5 : 1.

    In `HIGH_CONTRAST` it is 7 : 1 (WCAG 2.2, level AAA), and so it is for borders of controls and for curves.
    """

    dark: bool
    window: QColor
    surface: QColor
    raised: QColor
    border: QColor
    control: QColor
    text: QColor
    muted: QColor
    accent: QColor
    accent_hover: QColor
    accent_soft: QColor
    on_accent: QColor
    good: QColor
    warning: QColor
    bad: QColor
    series_1: QColor
    series_2: QColor
    series_3: QColor
    series_4: QColor
    series_5: QColor
    series_6: QColor
    grid: QColor

    @classmethod
    def of(cls, *, dark: bool, **colours: str) -> Palette:
        """Return a palette from colours written as #rrggbb."""
        return cls(dark=dark, **{name: QColor(colour) for name, colour in colours.items()})

    def names(self) -> dict[str, str]:
        """Return the colours as #rrggbb by name, for the style sheet and the icons."""
        colours = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dark"}
        return {name: colour.name() for name, colour in colours.items()}


LIGHT = Palette.of(
    dark=False,
    window="#f3f4f7",
    surface="#ffffff",
    raised="#f7f8fa",
    border="#e0e3e9",
    control="#868e9c",
    text="#171a21",
    muted="#565e6c",
    accent="#2456d3",
    accent_hover="#1c47b3",
    accent_soft="#e7edfc",
    on_accent="#ffffff",
    good="#147347",
    warning="#8a5300",
    bad="#b3261e",
    series_1="#2456d3",
    series_2="#c2570c",
    series_3="#0f7b6c",
    series_4="#a3308f",
    series_5="#6a5acd",
    series_6="#6b7280",
    grid="#e6e8ed",
)

DARK = Palette.of(
    dark=True,
    window="#0f1115",
    surface="#171a20",
    raised="#1f232b",
    border="#2b303a",
    control="#727b8b",
    text="#e8eaef",
    muted="#a0a8b6",
    accent="#7ea6ff",
    accent_hover="#a0beff",
    accent_soft="#1d2a47",
    on_accent="#0b1430",
    good="#5ccb8f",
    warning="#e3b04b",
    bad="#ff8b81",
    series_1="#7ea6ff",
    series_2="#f29e5c",
    series_3="#4fc7b4",
    series_4="#e386d3",
    series_5="#a99bff",
    series_6="#9aa3b2",
    grid="#272c35",
)

HIGH_CONTRAST = Palette.of(
    dark=True,
    window="#000000",
    surface="#000000",
    raised="#141414",
    border="#a6a6a6",
    control="#b4b4b4",
    text="#ffffff",
    muted="#e0e0e0",
    accent="#7fd1ff",
    accent_hover="#b3e4ff",
    accent_soft="#00293f",
    on_accent="#000000",
    good="#66ff99",
    warning="#ffd24d",
    bad="#ffa8a0",
    series_1="#7fd1ff",
    series_2="#ffb366",
    series_3="#5cf2d6",
    series_4="#ff9cf0",
    series_5="#c4b5ff",
    series_6="#d9d9d9",
    grid="#4d4d4d",
)


class ThemeSignals(QObject):
    """`changed` is emitted after the palette changed; what paints with its own pens repaints then."""

    changed = Signal()


@cache
def notifier() -> ThemeSignals:
    """Return the one notifier of the process."""
    return ThemeSignals()


class _Theme:
    """The present choice and what it became."""

    choice: Choice = "system"
    palette: Palette = LIGHT


def palette() -> Palette:
    """Return the colours in use."""
    return _Theme.palette


def choice() -> Choice:
    """Return what the user chose: to follow the system, or one theme."""
    return _Theme.choice


def install(app: QApplication, wanted: Choice) -> None:
    """Apply the theme to the application once at start, and follow the system from then on."""
    app.setStyle("Fusion")
    app.styleHints().colorSchemeChanged.connect(_follow_system)
    app.styleHints().accessibility().contrastPreferenceChanged.connect(_follow_system)
    choose(wanted)


def choose(wanted: Choice) -> None:
    """Follow the system, or force one theme, from now on."""
    _Theme.choice = wanted
    schemes = {"system": Qt.ColorScheme.Unknown, "light": Qt.ColorScheme.Light}
    application().styleHints().setColorScheme(schemes.get(wanted, Qt.ColorScheme.Dark))
    _apply()


@contextmanager
def styled_at_the_end() -> Iterator[None]:
    """Style the widgets that are made within once, at the end.

    Under a style sheet Qt styles a widget again each time that it, or one that it lies in, is given a parent: a window
    that is put together from its parts takes 1.5 times as long to open.
    """
    app = application()
    styled = bool(app.styleSheet())
    app.setStyleSheet("")
    try:
        yield
    finally:
        if styled:
            app.setStyleSheet(_style_sheet(_Theme.palette))  # its sizes follow the font, which may be another one


def set_font_size(percent: int) -> None:
    """Let the font of the application be so large. A window that is there already has to be built anew."""
    font = interface_font()
    font.setPointSizeF(font.pointSizeF() * percent / USUAL_FONT)
    application().setFont(font)


def application() -> QApplication:
    """Return the application; there is one whenever a widget exists."""
    return cast(QApplication, QApplication.instance())


def space(units: float) -> int:
    """Return a distance in pixels on the window's rhythm; one unit is half a line of text, about 8 at 10 points."""
    return max(1, round(units * QFontMetricsF(application().font()).height() * 0.5))


def characters(count: float) -> int:
    """Return the width of about `count` characters of body text, in pixels."""
    return round(QFontMetricsF(application().font()).averageCharWidth() * count)


def points(scale: float) -> float:
    """Return a font size on the type scale, in points."""
    return application().font().pointSizeF() * scale


def caption_font() -> QFont:
    """Return the font of the words within pictures: smaller than the window's."""
    font = QFont(application().font())
    font.setPointSizeF(points(CAPTION))
    return font


def _follow_system() -> None:
    if _Theme.choice == "system":
        _apply()


def _apply() -> None:
    app = application()
    _Theme.palette = _palette_of(_Theme.choice)
    app.setStyleSheet("")  # where one sheet takes another's place, Qt styles a widget once for each that it lies in
    app.setPalette(_qt_palette(_Theme.palette))
    app.setStyleSheet(_style_sheet(_Theme.palette))
    notifier().changed.emit()


def _palette_of(wanted: Choice) -> Palette:
    if wanted != "system":
        return {"light": LIGHT, "dark": DARK, "contrast": HIGH_CONTRAST}[wanted]
    hints = application().styleHints()
    if hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast:
        return HIGH_CONTRAST
    return DARK if hints.colorScheme() == Qt.ColorScheme.Dark else LIGHT


def _style_sheet(colours: Palette) -> str:
    values = colours.names() | _sizes() | {"shade": "dark" if colours.dark else "light"}
    values["themes"] = resource("themes").as_posix()
    return string.Template(resource("themes", "studio.qss").read_text(encoding="utf-8")).substitute(values)


def _sizes() -> dict[str, str]:
    """The distances and font sizes of the style sheet; s4 is one unit of the rhythm, s1 a quarter of it."""
    pixels = {f"s{quarters}": space(quarters / 4) for quarters in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)}
    # A focus ring is one pixel wider than the border it replaces: the padding gives that pixel back.
    # The words in a cell of a table stand this much further in than its padding says; its header's words follow.
    pixels["header_side"] = pixels["s4"] + 3
    pixels |= {"inset": pixels["s3"] - 1, "inset_side": pixels["s4"] - 1, "inset_quiet": pixels["s2"] - 1}
    fonts = {"title": TITLE, "heading": HEADING, "caption": CAPTION}
    return {name: f"{size}px" for name, size in pixels.items()} | {
        name: f"{points(scale):.2f}pt" for name, scale in fonts.items()
    }


def _qt_palette(colours: Palette) -> QPalette:
    role = QPalette.ColorRole
    result = QPalette()
    for name, colour in {
        role.Window: colours.window,
        role.WindowText: colours.text,
        role.Base: colours.surface,
        role.AlternateBase: colours.raised,
        role.Text: colours.text,
        role.PlaceholderText: colours.muted,
        role.Button: colours.surface,
        role.ButtonText: colours.text,
        role.BrightText: colours.bad,
        role.ToolTipBase: colours.raised,
        role.ToolTipText: colours.text,
        role.Highlight: colours.accent,
        role.HighlightedText: colours.on_accent,
        role.Accent: colours.accent,
        role.Link: colours.accent,
        role.LinkVisited: colours.accent,
        role.Light: colours.raised,
        role.Midlight: colours.border,
        role.Mid: colours.border,
        role.Dark: colours.control,
        role.Shadow: colours.control,
    }.items():
        result.setColor(name, colour)
    for disabled in (role.WindowText, role.Text, role.ButtonText):
        result.setColor(QPalette.ColorGroup.Disabled, disabled, colours.control)
    return result


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
