"""The size of the font is chosen in the View menu, and is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from studio.ui import theme
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.ui.fakes import choose


@pytest.fixture(autouse=True)
def _usual_size_afterwards(dressed: QApplication) -> Iterator[None]:
    yield
    theme.set_font_size(theme.USUAL_FONT)
    theme.choose("light")


def _press(window: MainWindow, *names: str) -> None:
    for name in names:
        window.actions_by_name[name].trigger()


def test_the_font_grows_and_shrinks_and_goes_back(window: MainWindow, dressed: QApplication, tmp_path: Path) -> None:
    usual = dressed.font().pointSizeF()
    choose(window, tmp_path)
    model = window.setup.model.values()["path"]
    window.setup.drop_questions()
    _press(window, "font_larger")
    assert dressed.font().pointSizeF() == pytest.approx(1.1 * usual)
    assert window.setup.model.values()["path"] == model
    _press(window, "font_usual")
    assert dressed.font().pointSizeF() == pytest.approx(usual)


@pytest.mark.parametrize(("size", "name"), [(200, "font_larger"), (80, "font_smaller")])
def test_the_largest_and_the_smallest_size_are_the_last_ones(window: MainWindow, size: int, name: str) -> None:
    window.context.settings.font_size = size
    _press(window, name)
    assert window.context.settings.font_size == size


def test_the_size_is_remembered(window: MainWindow, tmp_path: Path) -> None:
    _press(window, "font_larger")
    window.context.settings.save()
    assert Settings(tmp_path / "settings.ini").font_size == 110


@pytest.mark.parametrize("kept", ["", "0", "-5", "110.5", "1e9", "x"])
def test_a_size_that_is_none_is_the_usual_one(tmp_path: Path, kept: str) -> None:
    (tmp_path / "settings.ini").write_text(f"[General]\nfont_size={kept}\n")
    assert Settings(tmp_path / "settings.ini").font_size == theme.USUAL_FONT


def test_high_contrast_is_a_theme_of_the_menu(window: MainWindow) -> None:
    _press(window, "theme_contrast")
    assert theme.palette() is theme.HIGH_CONTRAST
    assert window.context.settings.theme == "contrast"
