"""The X-ray in the window: the rows of a real file, read with a real small tokenizer, clicked through."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets  # noqa: F401  # so that no test waits for it
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextCharFormat
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.config import DataConfig, DataSource
from studio.engine.control import Progress
from studio.engine.data.findings.base import Remedy, finding
from studio.engine.data.report import Remark
from studio.engine.data.xray import XRay, open_xray
from studio.runner import actions
from studio.ui.dialogs.xray.dialog import FOUND, GIVEN, LONGEST, SKIPPED, TRUNCATED, XRayDialog
from studio.ui.main_window import MainWindow
from tests.engine.data.conftest import build_tokenizer
from tests.ui.fakes import FakeEngine, FakeInspection, answered

Opened = Callable[..., XRayDialog]
TOKENIZER = build_tokenizer()


@pytest.fixture
def real(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine of the tests, but the X-ray reads the file with a tokenizer."""

    def read(source: DataSource, _model: Any, config: DataConfig, progress: Progress) -> XRay:
        return open_xray(source, TOKENIZER, "chat", max_length=config.max_length, progress=progress)

    monkeypatch.setattr(actions, "open_xray", read)
    return engine


@pytest.fixture
def opened(real: FakeEngine, window: MainWindow, qtbot: QtBot, tmp_path: Path) -> Opened:
    """Choose a file on the Data card and open its X-ray with the button there."""

    def run(path: Path, **options: Any) -> XRayDialog:
        (tmp_path / "model").mkdir()
        source = {"path": str(path), "columns": options.pop("columns", {})}
        data = {"sources": [source], **options}
        window.setup.set_tables({"model": {"path": str(tmp_path / "model")}, "data": data})
        editor = window.setup.data.sources[0]
        qtbot.waitUntil(editor.look_closer.isEnabled)
        qtbot.mouseClick(editor.look_closer, Qt.MouseButton.LeftButton)
        assert editor.xray is not None
        wait(qtbot, editor.xray)
        return editor.xray

    return run


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Thirty questions as CSV with odd headers; the answer in line 8 is empty, that in line 20 very long."""
    path = tmp_path / "odd.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["№", "Was der Kunde fragt", "Réponse ✓"])
        for line in range(2, 32):
            answer = {8: "", 20: "hello " * 300}.get(line, f"Answer {line}.")
            writer.writerow([line, f"Question {line}?", answer])
    return path


ODD = {"prompt": "Was der Kunde fragt", "completion": "Réponse ✓"}


def wait(qtbot: QtBot, dialog: XRayDialog) -> None:
    qtbot.waitUntil(lambda: dialog.xray is not None and answered(dialog), timeout=20_000)


def shown(dialog: XRayDialog) -> str:
    return dialog.rows.toPlainText()


def choose(qtbot: QtBot, dialog: XRayDialog, key: str) -> str:
    dialog.shown.set_value(key)
    wait(qtbot, dialog)
    return shown(dialog)


def enter(qtbot: QtBot, dialog: XRayDialog, field: Any, text: str) -> str:
    field.setText(text)  # the keys of QTest are Latin letters alone
    qtbot.keyClick(field, Qt.Key.Key_Return)
    wait(qtbot, dialog)
    return shown(dialog)


def test_the_rows_of_a_csv_with_odd_headers_are_turned_page_by_page(
    opened: Opened, numbered: Path, qtbot: QtBot
) -> None:
    dialog = opened(numbered, columns=ODD)
    assert dialog.words.text() == "1 to 10 of 30"
    assert shown(dialog).startswith("Row 2 ")
    assert "<|im_start|>user↵" in shown(dialog)
    assert not dialog.back.isEnabled()
    for _ in range(2):
        qtbot.mouseClick(dialog.on, Qt.MouseButton.LeftButton)
        wait(qtbot, dialog)
    assert dialog.words.text() == "21 to 30 of 30"
    assert "Question 31?" in shown(dialog)
    assert not dialog.on.isEnabled()
    dialog.rows_a_page.set_value("1")
    wait(qtbot, dialog)
    assert dialog.words.text() == "21 of 30"
    assert "Question 23?" not in shown(dialog)
    dialog.reject()


def test_special_and_learnt_tokens_look_different(opened: Opened, numbered: Path) -> None:
    dialog = opened(numbered, columns=ODD)
    document = dialog.rows.document()

    def style(text: str) -> Any:
        return document.find(text).charFormat()

    assert style("Answer 2").underlineStyle() == QTextCharFormat.UnderlineStyle.DotLine
    assert style("Question 2").underlineStyle() == QTextCharFormat.UnderlineStyle.NoUnderline
    assert style("<|im_start|>").foreground() != style("Question 2").foreground()
    assert style("<|im_start|>").fontWeight() > style("Question 2").fontWeight()
    dialog.reject()


def test_the_longest_the_cut_and_the_skipped_rows_are_one_choice_away(
    opened: Opened, numbered: Path, qtbot: QtBot
) -> None:
    dialog = opened(numbered, columns=ODD, max_length=128)
    assert dialog.facts.whole_text.startswith("30 rows · 1 skipped · 1 cut · ")
    assert choose(qtbot, dialog, LONGEST).startswith("Row 20 ")
    qtbot.mouseClick(dialog.findings.show_cut, Qt.MouseButton.LeftButton)
    wait(qtbot, dialog)
    assert dialog.shown.value() == TRUNCATED
    assert dialog.words.text() == "1 of 1"
    assert "Cut: its last" in shown(dialog)
    assert choose(qtbot, dialog, SKIPPED).splitlines()[0].endswith('Skipped: "Réponse ✓" is missing or empty')
    assert "Was der Kunde fragt: Question 8?" in shown(dialog)
    dialog.reject()


def test_a_text_is_searched_in_every_row_and_marked(opened: Opened, numbered: Path, qtbot: QtBot) -> None:
    dialog = opened(numbered, columns=ODD)
    text = enter(qtbot, dialog, dialog.search, "answer 1")
    assert (dialog.shown.value(), dialog.words.text()) == (FOUND, "1 to 10 of 10")
    assert text.startswith("Row 10 ")
    assert {mark.cursor.selectedText() for mark in dialog.rows.extraSelections()} == {"Answer 1"}
    assert enter(qtbot, dialog, dialog.search, "no such words") == ""
    assert dialog.words.text() == "No rows."
    enter(qtbot, dialog, dialog.search, "")
    assert dialog.words.text() == "1 to 10 of 30"
    dialog.reject()


def test_a_row_is_reached_by_its_number_from_the_keyboard(opened: Opened, numbered: Path, qtbot: QtBot) -> None:
    dialog = opened(numbered, columns=ODD)
    qtbot.keyClick(dialog, Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.focusWidget() is dialog.number
    enter(qtbot, dialog, dialog.number, "27")
    assert "Question 27?" in shown(dialog)
    assert dialog.words.text() == "21 to 30 of 30"
    qtbot.keyClick(dialog, Qt.Key.Key_PageUp, Qt.KeyboardModifier.ControlModifier)
    wait(qtbot, dialog)
    assert dialog.words.text() == "11 to 20 of 30"
    qtbot.keyClick(dialog, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.focusWidget() is dialog.search
    dialog.reject()


def test_chinese_rows_are_shown_and_found(opened: Opened, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "对话.jsonl"
    turns = [("怎么保养铁锅?", "擦干后涂一层油。"), ("谢谢🙂", "不客气。")]
    lines = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in turns
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    dialog = opened(path)
    assert "擦干后涂一层油。<|im_end|>" in shown(dialog)
    assert "谢谢🙂<|im_end|>" in shown(dialog)
    assert enter(qtbot, dialog, dialog.search, "不客气").startswith("Row 2 ")
    dialog.reject()


def test_the_suggested_length_changes_the_card_and_the_rows_are_read_again(
    opened: Opened, numbered: Path, window: MainWindow, qtbot: QtBot
) -> None:
    dialog = opened(numbered, columns=ODD, max_length=128)
    button = dialog.findings.raise_length
    assert button.isVisible()
    wanted = int("".join(filter(str.isdigit, button.text())))
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert window.setup.data.values()["max_length"] == wanted > 128
    qtbot.waitUntil(lambda: dialog.xray is not None and dialog.xray.max_length == wanted)
    wait(qtbot, dialog)
    assert not dialog.findings.show_cut.isVisible()
    assert not button.isVisible()
    dialog.reject()


def test_56_where_no_row_teaches_the_dialog_shows_the_lengths_and_mends_them(
    real: FakeEngine, opened: Opened, window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "hello " * 300, "completion": "Yes."}), encoding="utf-8")
    too_long = Remark.of("all_too_long", file=str(path), limit=64, shortest=312, longest=312, median=312, suggested=320)
    longer = finding("nothing_learned", [1], Remedy("raise_max_length", "max_length", 320), limit=64)
    real.data = FakeInspection(rows=1, skipped=1, problems=(too_long,), findings=(longer,))
    dialog = opened(path, max_length=64)
    assert window.setup.data.sources[0].problem.startswith("No answer in long.jsonl")
    assert dialog.findings.chart.isVisible()
    assert dialog.findings.buttons == {}  # the remedy stands once, beside the lengths
    assert "Skipped: the answer begins behind the longest length" in shown(dialog)
    qtbot.mouseClick(dialog.findings.show_cut, Qt.MouseButton.LeftButton)
    assert dialog.shown.value() == SKIPPED
    qtbot.mouseClick(dialog.findings.raise_length, Qt.MouseButton.LeftButton)
    assert window.setup.data.values()["max_length"] > 300
    qtbot.waitUntil(lambda: dialog.xray is not None and dialog.xray.skipped_rows == 0)
    wait(qtbot, dialog)
    dialog.reject()


def test_a_finding_shows_its_rows_and_its_remedy_changes_the_card(
    real: FakeEngine, opened: Opened, numbered: Path, window: MainWindow, qtbot: QtBot
) -> None:
    real.data.findings = (finding("duplicates", [5, 8], Remedy("drop_repeats", "leave_out", "duplicates")),)
    dialog = opened(numbered, columns=ODD)
    show, mend = dialog.findings.buttons["duplicates"]
    assert "2 rows repeat an earlier row" in mend.accessibleDescription()
    qtbot.mouseClick(show, Qt.MouseButton.LeftButton)
    wait(qtbot, dialog)
    assert dialog.words.text() == "1 to 2 of 2"
    assert shown(dialog).startswith("Row 5 ")
    assert "Row 8 " in shown(dialog)
    qtbot.mouseClick(mend, Qt.MouseButton.LeftButton)
    assert window.setup.data.values()["leave_out"] == ["duplicates"]
    wait(qtbot, dialog)
    dialog.reject()


def test_rows_that_somebody_names_can_be_opened(opened: Opened, numbered: Path, qtbot: QtBot) -> None:
    dialog = opened(numbered, columns=ODD)
    dialog.show_numbers("Highest loss", [30, 3])
    wait(qtbot, dialog)
    assert (dialog.shown.value(), dialog.shown.currentText()) == (GIVEN, "Highest loss")
    assert dialog.words.text() == "1 to 2 of 2"
    assert [shown(dialog).index(f"Row {number} ") > 0 for number in (30, 3)] == [False, True]  # in the order given
    dialog.reject()


def test_a_file_that_cannot_be_read_says_so_in_the_dialog(
    opened: Opened, numbered: Path, window: MainWindow, qtbot: QtBot
) -> None:
    dialog = opened(numbered, columns=ODD)
    numbered.unlink()
    dialog.read(partial(actions.open_xray, DataSource(path=str(numbered)), None, DataConfig(sources=({"path": "x"},))))
    qtbot.waitUntil(lambda: dialog.verdict.level == "bad")
    assert "odd.csv" in dialog.verdict.text
    dialog.reject()


def test_without_a_model_the_button_says_what_is_missing(window: MainWindow, qtbot: QtBot, numbered: Path) -> None:
    window.setup.set_tables({"data": {"sources": [{"path": str(numbered)}]}})
    button = window.setup.data.sources[0].look_closer
    qtbot.waitUntil(lambda: answered(window))
    assert not button.isEnabled()
    assert button.toolTip().startswith("Choose a model first")
