from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from studio.runner import actions
from studio.torch_build import UnusedCard
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.pages.setup.page import SetupPage
from tests.ui.fakes import answered

COMMAND = "python -m pip install torch==2.13.0+cu130"
RTX_4090 = UnusedCard("NVIDIA GeForce RTX 4090", "the installed torch (2.13.0+cpu) cannot use it", COMMAND)
TOO_OLD = UnusedCard("Tesla K80", "torch has no build for Tesla K80 on this system", "")


def page_with(qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch, *cards: UnusedCard) -> SetupPage:
    monkeypatch.setattr(actions, "look_for_cards", lambda: actions.GraphicsCards(unused=tuple(cards)))
    page = SetupPage(context)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(lambda: answered(page))
    return page


def test_a_card_that_torch_cannot_use_is_named_with_the_command_that_mends_it(
    qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = page_with(qtbot, context, monkeypatch, TOO_OLD, RTX_4090).notice
    assert notice.isVisible()
    for card in (RTX_4090, TOO_OLD):
        assert card.name in notice.verdict.text
        assert card.reason in notice.verdict.text
    assert notice.command.text() == COMMAND
    assert notice.command.accessibleName()
    theme.application().clipboard().clear()
    notice.copy.setFocus()
    QTest.keyClick(notice.copy, Qt.Key.Key_Space)
    assert theme.application().clipboard().text() == COMMAND


def test_where_no_command_helps_none_is_shown(
    qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = page_with(qtbot, context, monkeypatch, TOO_OLD).notice
    assert notice.verdict.isVisible()
    assert not notice.command.isVisible()


def test_nothing_is_said_where_every_card_is_used(
    qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not page_with(qtbot, context, monkeypatch).notice.isVisible()
