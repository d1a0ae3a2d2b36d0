"""The Export page starts an export, follows it, and says in plain words what came of it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.errors import ExportError
from studio.runner import actions
from studio.runner.record import RunRecord
from studio.runs import RunFolder
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.hub.push import PushDialog
from studio.ui.models.exports import read_exports
from studio.ui.pages.export.page import ExportPage
from tests.screenshots.scripted import START, scripted_certificate, scripted_runs
from tests.ui.fakes import answered


@pytest.fixture
def folders(context: AppContext) -> list[RunFolder]:
    return scripted_runs(context.runs_root)


@pytest.fixture
def page(context: AppContext, qtbot: QtBot, folders: list[RunFolder]) -> ExportPage:
    return _page(context, qtbot)


def _page(context: AppContext, qtbot: QtBot) -> ExportPage:
    page = ExportPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    return page


def _words(page: ExportPage) -> str:
    return "\n".join(found.text() for found in page.certificate.findChildren(QLabel) if not found.isHidden())


def test_only_runs_that_ended_well_are_offered_the_newest_first(page: ExportPage) -> None:
    offered = [page.form.run.itemText(index) for index in range(page.form.run.count())]
    assert [text.split(" · ")[1:3] for text in offered] == [
        ["LoRA", "fp16-mixed"], ["LoRA", "bf16-mixed"], ["Full fine-tuning", "fp32"],
    ]  # fmt: skip


def test_the_run_that_is_shown_elsewhere_is_chosen(context: AppContext, qtbot: QtBot, folders: list[RunFolder]) -> None:
    context.record = RunRecord(folders[1])
    assert _page(context, qtbot).form.folder == folders[1]


def test_without_a_finished_run_the_button_says_why_it_is_off(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot)
    assert not page.form.button.isEnabled()
    assert page.form.refusal.text == "No run has finished yet."
    assert page.certificate.verdict == "No export yet"


def test_every_target_explains_itself(page: ExportPage) -> None:
    assert list(page.form.cards)[:3] == ["merged", "baked", "adapter"]
    for card in page.form.cards.values():
        assert card.accessibleName()
        assert len(card.accessibleDescription()) > 40


def test_a_target_with_one_format_offers_no_choice_of_format(page: ExportPage, qtbot: QtBot) -> None:
    assert page.form.dtype.isVisible()
    assert page.form.button.text() == "Merge, export and check"
    qtbot.mouseClick(page.form.cards["adapter"], Qt.MouseButton.LeftButton)
    assert not page.form.dtype.isVisible()
    assert page.form.button.text() == "Export and check"


def test_a_form_that_does_not_suit_the_method_says_why(page: ExportPage, folders: list[RunFolder]) -> None:
    page.form.run.set_value(str(folders[2].path))
    assert not page.form.cards["adapter"].isEnabled()
    assert "leaves no adapter" in page.form.cards["adapter"].toolTip()
    assert page.form.target.name == "merged"


def test_an_export_that_passed_shows_its_certificate(
    page: ExportPage, context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def export(folder: RunFolder, target: str, dtype: str, out: Path | None, progress: Progress) -> object:
        asked.append((target, dtype))
        progress("verifying", 1, 2)
        scripted_certificate(folder, "merged-fp32", True, START)
        return SimpleNamespace(path=folder.exports / "merged-fp32", passed=True, restored="Of update 3.")

    monkeypatch.setattr(actions, "export", export)
    page.form.dtype.set_value("fp32")
    qtbot.mouseClick(page.form.button, Qt.MouseButton.LeftButton)
    assert not page.form.button.isEnabled()
    qtbot.waitUntil(lambda: page.certificate.verdict.startswith("Passed"))
    assert asked == [("merged", "fp32")]
    assert page.restored.isVisible()
    assert page.restored.text() == "Of update 3."
    assert page.form.button.isEnabled()
    words = _words(page)
    assert "all 8 checks passed" in words
    assert "Every weight is a finite number." in words
    assert "4.2e-5\nlimit 0.001" in words
    assert "model.safetensors" in words
    assert "513 MB" in words


def test_only_an_export_that_passed_can_be_put_on_the_hub_and_private_unless_asked(
    page: ExportPage, folders: list[RunFolder], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, bool]] = []

    def push(folder: Path, repository: str, progress: Progress, *, private: bool) -> str:
        asked.append((folder.name, repository, private))
        progress("uploading", 0, 0)
        if repository == "me/taken":
            raise ExportError("The export was not put on the hub: me/taken is there already and is public.")
        return f"https://hub.example/{repository}"

    monkeypatch.setattr(actions, "push_export", push)
    folder = folders[0]
    scripted_certificate(folder, "merged-bf16", False, START)
    page._list_exports(None)
    qtbot.waitUntil(lambda: page.certificate.verdict.startswith("Failed"))
    assert not page.certificate.push.isVisible()
    scripted_certificate(folder, "merged-fp32", True, START + 1)
    page._list_exports(folder.exports / "merged-fp32")
    qtbot.waitUntil(page.certificate.push.isVisible)
    qtbot.mouseClick(page.certificate.push, Qt.MouseButton.LeftButton)
    dialog = page.findChild(PushDialog)
    assert isinstance(dialog, PushDialog)
    assert (dialog.private.isChecked(), dialog.send.isEnabled()) == (True, False)
    qtbot.keyClicks(dialog.repository, "me/taken")
    qtbot.mouseClick(dialog.send, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.verdict.level == "bad")
    dialog.private.click()
    dialog.repository.setText("me/tuned")
    qtbot.keyClick(dialog.repository, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.verdict.text == "It is on https://hub.example/me/tuned")
    assert asked == [("merged-fp32", "me/taken", True), ("merged-fp32", "me/tuned", False)]
    dialog.reject()


def test_an_export_that_fails_a_check_is_never_called_exported(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(folder: RunFolder, *_: object) -> object:
        scripted_certificate(folder, "merged-bf16", False, START)
        return SimpleNamespace(path=folder.exports / "merged-bf16", passed=False, restored="")

    monkeypatch.setattr(actions, "export", export)
    page.start()
    qtbot.waitUntil(lambda: page.certificate.verdict == "Failed: do not use this export")
    words = _words(page)
    assert not page.restored.isVisible()
    assert "2 of 8 checks failed" in words
    assert words.index("may differ from the trained model's") < words.index("Every weight is a finite number.")


def test_an_export_that_cannot_be_written_says_why(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*_: object) -> object:
        raise ExportError("The export needs 0.6 GB and /full has 0.1 GB free; make room.")

    monkeypatch.setattr(actions, "export", export)
    page.start()
    qtbot.waitUntil(lambda: page.certificate.verdict == "Not exported")
    assert "make room" in _words(page)
    assert page.certificate.open.isHidden()
    assert page.form.button.isEnabled()


def test_a_cancelled_export_leaves_the_page_as_it_was(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()

    def export(folder: RunFolder, target: str, dtype: str, out: Path | None, progress: Progress) -> object:
        progress("merging", 0, 2)
        cancelled.wait(5)
        progress("merging", 1, 2)
        raise AssertionError("the second report raises Cancelled")

    monkeypatch.setattr(actions, "export", export)
    page.start()
    qtbot.waitUntil(page.form.progress.isVisible)
    qtbot.mouseClick(page.form.progress.cancel, Qt.MouseButton.LeftButton)
    assert not page.form.button.isEnabled()
    cancelled.set()
    qtbot.waitUntil(page.form.button.isEnabled)
    assert page.certificate.verdict == "No export yet"
    assert page.form.progress.isHidden()


def test_past_exports_are_listed_the_newest_first_and_each_can_be_looked_at(
    context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    scripted_certificate(folders[0], "merged-fp32", True, START + 10)
    scripted_certificate(folders[0], "merged-bf16", False, START)
    (folders[0].exports / "strange").mkdir()
    (folders[0].exports / ".merged.1.partial").mkdir()
    page = _page(context, qtbot)
    lines = [str(page.exports.index(row).data()) for row in range(page.exports.rowCount())]
    assert [line.split(" · ")[:3] for line in lines[:2]] == [
        ["Merged model", "fp32", "passed"], ["Merged model", "bf16", "failed"],
    ]  # fmt: skip
    assert lines[2] == "strange · cannot be read"
    assert page.certificate.verdict.startswith("Passed")
    page.past.setCurrentIndex(page.exports.index(1))
    assert page.certificate.verdict.startswith("Failed")
    page.past.setCurrentIndex(page.exports.index(2))
    assert page.certificate.verdict == "Not certified"


def test_the_path_of_an_export_can_be_copied(context: AppContext, qtbot: QtBot, folders: list[RunFolder]) -> None:
    scripted_certificate(folders[0], "merged-fp32", True, START)
    page = _page(context, qtbot)
    qtbot.mouseClick(page.certificate.copy, Qt.MouseButton.LeftButton)
    assert theme.application().clipboard().text() == str(folders[0].exports / "merged-fp32")


def test_a_run_without_exports_has_none(folders: list[RunFolder]) -> None:
    assert read_exports(folders[0]) == []


def test_the_focus_does_not_land_on_cancel_after_export(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def export(*_: object) -> None:
        looked.wait(5)
        raise ExportError("The disk is full.")

    monkeypatch.setattr(actions, "export", export)
    page.activateWindow()
    page.form.button.setFocus()
    qtbot.keyClick(page.form.button, Qt.Key.Key_Space)
    assert page.form.progress.cancel.isVisible()
    assert page.certificate.isAncestorOf(page.focusWidget())
    looked.set()
    qtbot.waitUntil(lambda: page.form.button.isEnabled())


def test_a_desktop_without_a_file_manager_says_so(
    page: ExportPage, context: AppContext, folders: list[RunFolder], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda _: False)
    scripted_certificate(folders[0], "merged-bf16", True, START)
    page._list_exports(None)
    qtbot.waitUntil(page.certificate.open.isVisible)
    with qtbot.waitSignal(context.message) as heard:
        qtbot.mouseClick(page.certificate.open, Qt.MouseButton.LeftButton)
    assert str(page.certificate.path) in heard.args[0]
    assert QApplication.clipboard().text() == str(page.certificate.path)
