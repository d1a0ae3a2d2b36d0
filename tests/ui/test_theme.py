from __future__ import annotations

from itertools import product

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.paths import resource
from studio.ui import icons, theme
from studio.ui.widgets.buttons import push_button

PALETTES = [theme.LIGHT, theme.DARK, theme.HIGH_CONTRAST]
NAMES = ["light", "dark", "contrast"]
WORDS = ("text", "muted", "accent", "good", "warning", "bad")
GROUNDS = ("window", "surface", "raised")


def luminance(colour: QColor) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.getRgbF()[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: QColor, other: QColor) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _least(colours: theme.Palette, usual: float) -> float:
    """WCAG 2.2 asks for 4.5 : 1 of words and 3 : 1 of controls at level AA; high contrast has level AAA for both."""
    return 7.0 if colours is theme.HIGH_CONTRAST else usual


@pytest.mark.parametrize("colours", PALETTES, ids=NAMES)
def test_all_words_can_be_read(colours: theme.Palette) -> None:
    pairs = [*product(WORDS, GROUNDS), ("on_accent", "accent"), ("accent", "accent_soft"), ("text", "accent_soft")]
    weak = {pair: contrast(getattr(colours, pair[0]), getattr(colours, pair[1])) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < _least(colours, 4.5)} == {}


@pytest.mark.parametrize("colours", PALETTES, ids=NAMES)
def test_borders_of_controls_and_curves_can_be_seen(colours: theme.Palette) -> None:
    names = ["control", *(f"series_{number}" for number in range(1, 7))]
    weak = {name: contrast(getattr(colours, name), colours.surface) for name in names}
    assert {name: value for name, value in weak.items() if value < _least(colours, 3)} == {}


def test_the_theme_can_be_forced_and_everyone_hears_of_it(dressed: QApplication, qtbot: QtBot) -> None:
    with qtbot.waitSignal(theme.notifier().changed):
        theme.choose("dark")
    assert theme.palette() is theme.DARK
    assert theme.DARK.surface.name() in dressed.styleSheet()
    theme.choose("light")
    assert theme.palette() is theme.LIGHT


def test_icons_follow_the_theme(dressed: QApplication, qtbot: QtBot) -> None:
    button = push_button("Go", icon="play")
    qtbot.addWidget(button)
    before = button.icon().pixmap(24).toImage()
    theme.choose("dark")
    assert button.icon().pixmap(24).toImage() != before
    theme.choose("light")


@pytest.mark.parametrize("path", sorted(resource("icons").glob("*.svg")), ids=lambda path: path.stem)
def test_every_icon_draws_something(path: object, dressed: QApplication) -> None:
    picture = icons.pixmap(path.stem, "#112233", 24, 1.0).toImage()  # type: ignore[attr-defined]
    assert any(picture.pixelColor(x, y).alpha() for x in range(24) for y in range(24))


def test_sizes_grow_with_the_font(dressed: QApplication) -> None:
    font = dressed.font()
    before = theme.space(2)
    larger = dressed.font()
    larger.setPointSizeF(font.pointSizeF() * 2)
    try:
        dressed.setFont(larger)
        assert theme.space(2) > 1.6 * before
    finally:
        dressed.setFont(font)
