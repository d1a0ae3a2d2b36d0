"""A verdict: nothing until it has something to say, then a sentence and a sign in the colours of the theme."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from studio.ui import theme
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.verdict import Verdict


@pytest.fixture
def around(qtbot: QtBot, qapp: QApplication) -> QWidget:
    theme.install(qapp, "light")
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(400, 100)
    with qtbot.waitExposed(window):
        window.show()
    return window


@pytest.fixture
def verdict(around: QWidget) -> Verdict:
    made = Verdict("caption")
    vbox(made, parent=around)
    return made


def _sign(verdict: Verdict) -> QImage:
    return next(one for one in verdict.findChildren(QLabel) if not one.pixmap().isNull()).pixmap().toImage()


def test_it_has_no_labels_until_it_says_something(verdict: Verdict) -> None:
    verdict.set("", "warning")
    assert verdict.isHidden()
    assert not verdict.findChildren(QLabel)


def test_a_sentence_is_shown_and_taken_back_and_another_one_takes_its_place(verdict: Verdict) -> None:
    for said, level in (("Too large.", "bad"), ("", "none"), ("It fits.", "good")):
        verdict.set(said, level)  # type: ignore[arg-type]  # a loop makes them str
        assert verdict.isVisible() is bool(said)
        assert (verdict.text, verdict.level, verdict.accessibleName()) == (said, level, said)
    assert [one.text() for one in verdict.findChildren(QLabel) if one.text()] == ["It fits."]


def test_its_sign_follows_the_theme_also_while_it_is_silent(verdict: Verdict) -> None:
    verdict.set("It fits.", "good")
    light = _sign(verdict)
    verdict.set("")
    theme.choose("dark")
    verdict.set("It fits.", "good")
    dark = _sign(verdict)
    assert dark != light
    theme.choose("light")
    assert _sign(verdict) == light
