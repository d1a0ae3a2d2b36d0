"""On no page does Alt with a letter mean two things."""

from __future__ import annotations

from collections import defaultdict

import pytest
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QAbstractButton, QLabel
from pytestqt.qtbot import QtBot

from studio.ui.actions import PAGES
from studio.ui.forms.row import FormRow
from studio.ui.main_window import MainWindow
from studio.ui.widgets.disclosure import Disclosure
from tests.ui.fakes import answered


def mnemonics(window: MainWindow) -> dict[str, list[str]]:
    """Return what each Alt key means in the window as it is shown."""
    found = defaultdict(list)
    labels = [label for label in window.findChildren(QLabel) if label.buddy() is not None]
    shown = [widget for widget in (*labels, *window.findChildren(QAbstractButton)) if widget.isVisible()]
    for text in [widget.text() for widget in shown] + [action.text() for action in window.menuBar().actions()]:
        if not (key := QKeySequence.mnemonic(text)).isEmpty():
            found[key.toString()].append(text)
    return found


@pytest.mark.parametrize("method", ["lora", "full", "bottleneck-adapter"])
def test_no_letter_is_given_twice_on_the_setup_page(ready: MainWindow, qtbot: QtBot, method: str) -> None:
    ready.setup.method.choice.set_value(method)
    for disclosure in ready.setup.findChildren(Disclosure):
        disclosure.open()
    qtbot.waitUntil(lambda: answered(ready))
    qtbot.wait(1)  # the letters are given once the event loop turns
    assert {key: words for key, words in mnemonics(ready).items() if len(words) > 1} == {}
    # Whoever finds a letter there today finds it there tomorrow: what everybody sees has one.
    rate = ready.setup.training.form.rows["learning_rate"]
    assert rate.mnemonic
    plain = [row for row in ready.setup.findChildren(FormRow) if row.isVisible() and not row.editor.spec.advanced]
    assert sum(bool(row.mnemonic) for row in plain) >= 12


@pytest.mark.parametrize("page", [page for page in PAGES if page != "setup"])
def test_no_letter_is_given_twice_on_another_page(ready: MainWindow, page: str) -> None:
    ready.go_to(page)
    assert {key: words for key, words in mnemonics(ready).items() if len(words) > 1} == {}
