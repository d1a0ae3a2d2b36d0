"""The tour comes once, goes with Enter, ends with Esc; a report is written where the user says, after they have read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import QFileDialog, QFrame, QLabel, QLineEdit
from pytestqt.qtbot import QtBot
from shiboken6 import delete, isValid

from studio.errors import StudioError
from studio.runner.bug_report import CONTENTS
from studio.ui.dialogs import report
from studio.ui.dialogs.report import ReportDialog
from studio.ui.main_window import MainWindow
from studio.ui.tour import STEPS, Tour


def begun(window: MainWindow) -> Tour:
    window.help.begin_first_tour()
    assert window.help.tour is not None
    return window.help.tour


def test_the_tour_is_gone_through_with_enter_and_comes_only_once(window: MainWindow, qtbot: QtBot) -> None:
    before = window.focusWidget()
    tour = begun(window)
    assert len(STEPS) == 5
    for number in range(1, 6):
        assert tour.title.text().startswith(f"{number}. ")
        assert window.rect().contains(tour.geometry())
        assert tour.words.height() >= tour.words.heightForWidth(tour.words.width())
        assert not tour.ring.geometry().intersects(tour.geometry()) or number == 1
        qtbot.keyClick(tour, Qt.Key.Key_Return)
    assert window.help.tour is None
    assert window.focusWidget() is before
    assert window.context.settings.tour_seen
    window.help.begin_first_tour()
    assert window.help.tour is None


def test_the_ring_of_the_tour_stays_round_a_card_that_grows_and_moves(window: MainWindow, qtbot: QtBot) -> None:
    tour, card = begun(window), window.setup.model

    def around() -> QRect:
        return QRect(card.mapTo(window, QPoint(0, 0)), card.size()).intersected(window.rect())

    for height in (card.height() + 60, card.height() + 120):
        card.setMinimumHeight(height)
        qtbot.waitUntil(lambda height=height: card.height() >= height)
        assert tour.ring.geometry().contains(around())
        assert tour.ring.height() < around().height() + 20
    window.banner.hide()
    window.banner.show_sentence("A sentence.")
    qtbot.waitUntil(lambda: tour.ring.geometry().contains(around()))


@pytest.mark.parametrize("gone", ["what had the keyboard", "what the step is about"])
def test_the_tour_ends_well_though_a_control_is_gone(window: MainWindow, qtbot: QtBot, gone: str) -> None:
    field, card = QLineEdit(window.setup), QFrame(window.setup)
    field.show()
    card.show()
    field.setFocus()
    tour, ended = Tour(window, lambda _: card if isValid(card) else window.setup.model), list[bool]()
    tour.ended.connect(lambda: ended.append(True))
    delete(field if gone == "what had the keyboard" else card)
    window.resize(window.width() - 10, window.height())
    qtbot.keyClick(tour, Qt.Key.Key_Escape)
    assert ended


def test_esc_skips_the_tour_and_the_menu_begins_it_again(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.keyClick(begun(window), Qt.Key.Key_Escape)
    assert window.help.tour is None
    assert window.context.settings.tour_seen
    window.go_to("runs")
    window.actions_by_name["tour"].trigger()
    window.actions_by_name["tour"].trigger()
    assert window.page == "setup"
    assert window.help.tour is not None
    window.help.tour.skip.click()
    assert window.help.tour is None


def test_the_window_stays_usable_and_the_tour_follows_its_size(window: MainWindow, qtbot: QtBot) -> None:
    tour = begun(window)
    window.resize(1024, 640)
    qtbot.waitUntil(lambda: window.rect().contains(tour.geometry()))
    window.actions_by_name["language_zh_CN"].trigger()
    assert window.help.tour is None
    window.actions_by_name["language_en"].trigger()


@pytest.fixture
def dialog(window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReportDialog:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "r.zip"), ""))
    window.actions_by_name["report"].trigger()
    found = window.findChild(ReportDialog)
    assert isinstance(found, ReportDialog)
    qtbot.waitExposed(found)
    return found


def test_what_a_report_holds_is_said_before_it_is_written(dialog: ReportDialog) -> None:
    said = [one.text() for one in dialog.findChildren(QLabel)]
    assert set(CONTENTS) <= set(said)
    assert any("tokens and passwords do not go along" in words for words in said)
    assert dialog.folder.isHidden()


def test_a_report_is_written_in_the_background_and_its_folder_is_offered(
    dialog: ReportDialog, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "bundle_in_child", lambda path, *_: path.write_bytes(b"PK"))
    dialog.save.click()
    qtbot.waitUntil(lambda: dialog.verdict.level == "good")
    assert (tmp_path / "r.zip").exists()
    assert not dialog.folder.isHidden()


def test_a_report_that_fails_says_why(dialog: ReportDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StudioError("The report was not written: the disk is full.")

    monkeypatch.setattr(report, "bundle_in_child", fail)
    dialog.save.click()
    qtbot.waitUntil(lambda: dialog.verdict.level == "bad")
    assert dialog.verdict.text == "The report was not written: the disk is full."
    assert dialog.save.isEnabled()
