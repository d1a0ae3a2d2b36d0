"""Checking an export again from the Export page, as `finetune-studio verify` does."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.engine.export.certificate import Certificate, Check, read_certificate
from studio.errors import ExportError
from studio.runner import actions
from studio.runs import RunFolder
from studio.ui.bridge import AppContext
from studio.ui.pages.export.page import ExportPage
from tests.screenshots.scripted import START, scripted_certificate, scripted_gguf, scripted_runs
from tests.ui.fakes import answered


@pytest.fixture
def folders(context: AppContext) -> list[RunFolder]:
    return scripted_runs(context.runs_root)


@pytest.fixture
def page(context: AppContext, qtbot: QtBot, folders: list[RunFolder]) -> ExportPage:
    scripted_certificate(folders[0], "merged-fp32", True, START + 10)
    scripted_certificate(folders[0], "merged-bf16", True, START)
    scripted_certificate(folders[1], "merged-fp32", True, START)
    page = ExportPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: answered(page))
    return page


class Held:
    """A check that goes on until it is let go, or cancelled."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.let_go, self.ended = threading.Event(), threading.Event()

    def __call__(self, path: Path, progress: Progress) -> Certificate:
        self.paths.append(path)
        try:
            while not self.let_go.wait(0.01):
                progress("verifying", 1, 2)
        finally:
            self.ended.set()
        return damaged(path)


def damaged(path: Path) -> Certificate:
    check = Check.of("files_unchanged", False, 1, 0, missing=[], changed=["model.safetensors"], added=[])
    return dataclasses.replace(read_certificate(path), checks=(check,))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(actions, "verify", held)
    return held


def _words(page: ExportPage) -> str:
    return "\n".join(found.text() for found in page.certificate.findChildren(QLabel) if not found.isHidden())


def _line(page: ExportPage, row: int = 0) -> str:
    return str(page.exports.index(row).data())


def test_damage_since_the_export_is_shown_and_stays_known(page: ExportPage, held: Held, qtbot: QtBot) -> None:
    assert page.certificate.verdict.startswith("Passed")
    qtbot.mouseClick(page.certificate.again, Qt.MouseButton.LeftButton)
    assert not page.certificate.again.isEnabled()
    qtbot.waitUntil(page.certificate.progress.isVisible)
    held.let_go.set()
    qtbot.waitUntil(lambda: page.certificate.verdict == "Failed: do not use this export")
    assert held.paths == [page.certificate.path]
    assert "checked again" in _words(page)
    assert "model.safetensors" in _words(page)
    assert page.certificate.progress.isHidden()
    assert page.certificate.again.isEnabled()
    assert not page.certificate.push.isVisible()
    assert "failed" in _line(page)
    page.past.setCurrentIndex(page.exports.index(1))
    page.past.setCurrentIndex(page.exports.index(0))
    assert page.certificate.verdict.startswith("Failed")
    page.reload()
    qtbot.waitUntil(lambda: answered(page))
    assert page.certificate.verdict.startswith("Failed")


def test_another_export_or_run_ends_the_check(page: ExportPage, held: Held, qtbot: QtBot) -> None:
    for leave in (
        lambda: page.past.setCurrentIndex(page.exports.index(1)),
        lambda: page.form.run.set_value(page.form.run.itemData(1)),
    ):
        held.ended.clear()
        page.certificate.check_again()
        qtbot.waitUntil(page.certificate.progress.isVisible)
        leave()
        qtbot.waitUntil(held.ended.is_set)
        qtbot.waitUntil(lambda: answered(page))
        assert page.certificate.progress.isHidden()
        assert page.certificate.verdict.startswith("Passed")
        assert "checked again" not in _words(page)


def test_leaving_the_page_and_coming_back_does_not_end_the_check(page: ExportPage, held: Held, qtbot: QtBot) -> None:
    page.past.setCurrentIndex(page.exports.index(1))
    chosen = page.certificate.path
    page.certificate.check_again()
    page.reload()
    qtbot.waitUntil(lambda: not page._read_runs.running and not page._read_exports.running)
    assert page.certificate.path == chosen
    held.let_go.set()
    qtbot.waitUntil(lambda: page.certificate.verdict.startswith("Failed"))


def test_a_cancelled_check_leaves_the_certificate(page: ExportPage, held: Held, qtbot: QtBot) -> None:
    page.certificate.check_again()
    qtbot.waitUntil(page.certificate.progress.isVisible)
    qtbot.mouseClick(page.certificate.progress.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(page.certificate.again.isEnabled)
    assert page.certificate.progress.isHidden()
    assert page.certificate.verdict.startswith("Passed")


def test_a_check_that_cannot_be_made_says_why_and_can_be_tried_again(
    page: ExportPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(path: Path, progress: Progress) -> Certificate:
        raise ExportError("The certificate is damaged.")

    monkeypatch.setattr(actions, "verify", verify)
    page.certificate.check_again()
    qtbot.waitUntil(lambda: page.certificate.verdict == "Not checked")
    assert "The certificate is damaged." in _words(page)
    assert page.certificate.again.isVisible()
    assert page.certificate.again.isEnabled()


def test_an_export_under_way_ends_the_check_and_forbids_another(page: ExportPage, held: Held, qtbot: QtBot) -> None:
    page.certificate.check_again()
    page._set_busy("An export is under way.")
    qtbot.waitUntil(held.ended.is_set)
    assert not page.certificate.again.isEnabled()
    assert page.certificate.again.toolTip() == "An export is under way."
    page._set_busy("")
    assert page.certificate.again.isEnabled()


def test_the_list_tells_what_a_format_costs(page: ExportPage, folders: list[RunFolder], qtbot: QtBot) -> None:
    scripted_gguf(folders[0])
    page._list_exports(None)
    qtbot.waitUntil(lambda: page.exports.rowCount() == 6)
    lines = {export.certificate.dtype: (_line(page, row), export.level)
             for row in range(6) if (export := page.exports.export(row)).certificate}  # fmt: skip
    assert "passed, cost: heavy" in lines["q4_0"][0]
    assert lines["q4_0"][1] == "warning"
    assert "passed, cost: clear" in lines["q4_k_m"][0]
    assert "cost" not in lines["q8_0"][0]
    assert lines["q8_0"][1] == "good"
