"""F1 opens the guide at the chapter of the page; contents, links, search and keys lead through it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

import studio.ui
from studio.runner.guide import TOP, chapters
from studio.ui import theme
from studio.ui.actions import PAGES
from studio.ui.dialogs.guide import PLACE, Guide, _items
from studio.ui.dialogs.queue import QueueDialog
from studio.ui.main_window import MainWindow


def opened(window: MainWindow) -> Guide:
    window.actions_by_name["guide"].trigger()
    assert window.help.guide is not None
    return window.help.guide


@pytest.fixture
def guide(window: MainWindow, qtbot: QtBot) -> Guide:
    found = opened(window)
    qtbot.waitExposed(found)
    return found


def test_f1_opens_the_chapter_of_each_page_in_one_window_that_blocks_nothing(window: MainWindow) -> None:
    assert window.actions_by_name["guide"].shortcut().toString() == "F1"
    dialogs = set()
    for page in PAGES:
        window.go_to(page)
        dialog = opened(window)
        dialogs.add(dialog)
        assert dialog.place == (page, "top")
    assert len(dialogs) == 1
    assert not dialog.isModal()


def test_f1_opens_the_guide_over_a_modal_dialog_where_it_can_be_read(window: MainWindow, qtbot: QtBot) -> None:
    window.actions_by_name["queue"].trigger()
    dialog = window.findChild(QueueDialog)
    with qtbot.waitExposed(dialog):
        dialog.show()
    dialog.activateWindow()
    qtbot.waitUntil(dialog.isActiveWindow)
    assert dialog.isModal()
    qtbot.keyClick(dialog, Qt.Key.Key_F1)
    guide = dialog.findChild(Guide)
    with qtbot.waitExposed(guide):
        guide.show()
    assert guide.place == ("runs", "queue")
    other = next(one for one in _items(guide.contents) if one.data(0, PLACE) == ("methods", "top"))
    spot = guide.contents.viewport().mapTo(guide, guide.contents.visualItemRect(other).center())
    QTest.mouseClick(guide.windowHandle(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)
    assert guide.place == ("methods", "top")
    dialog.activateWindow()
    qtbot.waitUntil(dialog.isActiveWindow)
    qtbot.keyClick(dialog, Qt.Key.Key_F1)
    assert guide.place == ("runs", "queue")
    dialog.reject()
    assert not guide.isVisible()


def test_every_dialog_offers_the_guide_at_a_place_that_there_is() -> None:
    places = {(one.name, heading.anchor) for one in chapters("en") for heading in one.headings}
    dialogs, offered = [], []
    for file in Path(studio.ui.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and {"QDialog", "ComparisonDialog"} & {
                base.id for base in node.bases if isinstance(base, ast.Name)
            }:
                dialogs.append((node.name, "offer_guide(self" in ast.unparse(node)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "offer_guide":
                chapter, *anchors = node.args[1:]
                names = [one for anchor in anchors for one in ast.walk(anchor) if isinstance(one, ast.Constant)]
                offered += [(ast.literal_eval(chapter), one.value) for one in names] or [(chapter.value, TOP)]
    assert {name for name, offers in dialogs if not offers} == {"Guide", "ComparisonDialog"}
    assert set(offered) <= places


def test_a_link_leads_to_its_heading_and_back_again(guide: Guide, qtbot: QtBot) -> None:
    guide.show_chapter("train")
    guide.text.anchorClicked.emit(QUrl("precision.md#scaling"))
    assert guide.place == ("precision", "scaling")
    assert guide.text.textCursor().block().text() == "Loss scaling"
    assert guide.contents.currentItem().text(0) == "Loss scaling"
    qtbot.keyClick(guide, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    assert guide.place == ("train", "top")


def test_the_contents_show_what_is_chosen(guide: Guide) -> None:
    (item,) = [one for one in _items(guide.contents) if one.data(0, PLACE) == ("methods", "lora")]
    guide.contents.setCurrentItem(item)
    assert guide.place == ("methods", "lora")
    assert guide.text.verticalScrollBar().value() > 0


def test_a_search_keeps_the_sections_with_all_words_and_enter_shows_the_first(guide: Guide, qtbot: QtBot) -> None:
    qtbot.keyClicks(guide.search, "houlsby")
    shown = [one.data(0, PLACE) for one in _items(guide.contents) if not one.isHidden()]
    assert shown == [("methods", "top"), ("methods", "adapter")]
    qtbot.keyClick(guide.search, Qt.Key.Key_Return)
    assert guide.place == ("methods", "adapter")
    assert [mark.cursor.selectedText() for mark in guide.text.extraSelections()] == ["Houlsby"]
    guide.search.setText("no such word")
    assert not guide.nothing.isHidden()
    guide.search.clear()
    assert guide.nothing.isHidden()
    assert not [one for one in _items(guide.contents) if one.isHidden()]


def test_keys_and_terms_stand_in_the_guide_as_the_program_has_them(guide: Guide) -> None:
    guide.show_chapter("keys")
    assert "Ctrl+Return" in guide.text.toPlainText()
    guide.show_chapter("glossary")
    assert "Underflow: A number is too small" in guide.text.toPlainText()


def test_it_speaks_the_language_that_is_chosen_and_wears_the_theme(window: MainWindow, guide: Guide) -> None:
    window.actions_by_name["language_zh_CN"].trigger()
    assert window.help.guide is None
    again = opened(window)
    assert again.text.toPlainText().startswith("设置一次运行")
    theme.choose("dark")
    theme.choose("light")
    assert again.place == ("setup", "top")
    window.actions_by_name["language_en"].trigger()


def test_the_label_of_a_setting_explains_its_term(window: MainWindow) -> None:
    row = window.setup.training.form.rows["warmup_ratio"]
    assert row._name.toolTip().startswith("Warm-up: ")
