"""Which column holds what, chosen in the window: odd headers, a second column, unused columns, and rows beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.inspect import DataInspection, inspect_data, peek_columns
from studio.runner import actions
from studio.ui.main_window import MainWindow
from studio.ui.pages.setup.source_editor import SourceEditor
from tests.ui.fakes import FakeEngine, answered


@pytest.fixture
def real(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine of the tests, but files are read for real, as text."""

    def read(
        source: DataSource, _model: Any, _config: Any, rows: int, progress: Progress, _seed: int
    ) -> DataInspection:
        return inspect_data(source, rows=rows, progress=progress)

    monkeypatch.setattr(actions, "open_data", read)
    monkeypatch.setattr(actions, "peek_columns", peek_columns)
    return engine


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A CSV with headers that nothing recognises."""
    path = tmp_path / "odd.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["№", "Was der Kunde fragt", "Réponse ✓", "Hinweis"])
        writer.writerows([[n, f"Frage {n}", f"Antwort {n}", f"Hinweis {n}"] for n in range(1, 6)])
    return path


def add(window: MainWindow, qtbot: QtBot, **source: Any) -> SourceEditor:
    window.setup.data.set_values({"sources": [{key: str(v) if key == "path" else v for key, v in source.items()}]})
    wait(window, qtbot)
    return window.setup.data.sources[0]


def wait(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: answered(window.setup.data), timeout=20_000)


def choose(window: MainWindow, qtbot: QtBot, role: str, column: str, place: int = 0) -> None:
    window.setup.data.sources[0].mapping.boxes[role][place].set_value(column)
    wait(window, qtbot)


def chosen(source: SourceEditor) -> dict[str, list[str]]:
    found = {role: [box.value() for box in boxes] for role, boxes in source.mapping.boxes.items()}
    return {role: columns for role, columns in found.items() if any(columns)}


def test_a_file_that_fits_no_format_is_asked_about_and_then_taught(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path
) -> None:
    source = add(window, qtbot, path=odd)
    assert "say which column holds what" in source.error
    assert source.mapping.isVisible()
    assert source.mapping.hint.isVisible()
    choose(window, qtbot, "question", "Was der Kunde fragt")
    assert source.error  # an answer is missing still
    choose(window, qtbot, "answer", "Réponse ✓")
    assert source.error == ""
    assert not source.mapping.hint.isVisible()
    assert source.preview.isVisible()
    assert source.preview.preview.toPlainText() == "Frage 1Antwort 1"
    values = window.setup.data.values()["sources"][0]
    assert values["columns"] == {"prompt": "Was der Kunde fragt", "completion": "Réponse ✓"}
    assert values["format"] == "prompt-completion"
    again = add(window, qtbot, **values)
    assert chosen(again) == {"question": ["Was der Kunde fragt", ""], "answer": ["Réponse ✓", ""]}


def test_a_second_column_of_the_question_is_shown_in_the_rows_beside(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path
) -> None:
    columns = {"prompt": "Was der Kunde fragt", "completion": "Réponse ✓"}
    source = add(window, qtbot, path=odd, columns=columns)
    choose(window, qtbot, "question", "Hinweis", place=1)
    assert "Frage 1" in source.preview.preview.toPlainText()
    assert "Hinweis 1" in source.preview.preview.toPlainText()
    choose(window, qtbot, "question", "", place=1)
    assert "Hinweis 1" not in source.preview.preview.toPlainText()


def test_columns_inside_objects_are_offered_and_taught(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "nested.jsonl"
    path.write_text(json.dumps({"talk": {"asked": {"text": "2+2?"}, "said": "4"}}), encoding="utf-8")
    source = add(window, qtbot, path=path)
    choose(window, qtbot, "question", "talk.asked.text")
    choose(window, qtbot, "answer", "talk.said")
    assert source.error == ""
    assert source.preview.preview.toPlainText() == "2+2?4"
    assert chosen(source) == {"question": ["talk.asked.text", ""], "answer": ["talk.said", ""]}
    values = window.setup.data.values()["sources"][0]
    assert values["columns"] == {"prompt": "talk.asked.text", "completion": "talk.said"}


def test_unused_columns_are_amber_until_the_user_says_so(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path
) -> None:
    columns = {"prompt": "Was der Kunde fragt", "completion": "Réponse ✓"}
    source = add(window, qtbot, path=odd, columns=columns)
    assert window.setup.data.verdict == ("5 rows · not used: №, Hinweis", "warning")
    assert source.mapping.unused.text.startswith("Not used: №, Hinweis.")
    qtbot.mouseClick(source.mapping.ignore, Qt.MouseButton.LeftButton)
    wait(window, qtbot)
    assert window.setup.data.verdict == ("5 rows", "good")
    assert window.setup.data.values()["sources"][0]["ignored_columns"] == ["№", "Hinweis"]
    assert not source.mapping.ignore.isVisible()
    qtbot.mouseClick(source.mapping.recall, Qt.MouseButton.LeftButton)
    wait(window, qtbot)
    assert window.setup.data.verdict[1] == "warning"


def test_ignoring_more_columns_keeps_those_that_are_ignored(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path
) -> None:
    columns = {"prompt": "Was der Kunde fragt", "completion": "Réponse ✓"}
    source = add(window, qtbot, path=odd, columns=columns, ignored_columns=["№"])
    qtbot.mouseClick(source.mapping.ignore, Qt.MouseButton.LeftButton)
    wait(window, qtbot)
    assert window.setup.data.values()["sources"][0]["ignored_columns"] == ["№", "Hinweis"]


def test_what_a_configuration_maps_is_shown_where_the_rest_is_missing(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path
) -> None:
    source = add(window, qtbot, path=odd, columns={"prompt": "Was der Kunde fragt"})
    assert source.error
    assert chosen(source) == {"question": ["Was der Kunde fragt", ""]}


def test_recognition_fills_the_boxes_and_a_role_can_be_taken_back(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "行.jsonl"
    row = {"question": "什么?", "context": "背景。", "answer": "答案。"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    source = add(window, qtbot, path=path)
    assert chosen(source) == {"question": ["question", ""], "answer": ["answer", ""], "context": ["context", ""]}
    assert "背景。" in source.preview.preview.toPlainText()
    choose(window, qtbot, "context", "")
    assert "背景。" not in source.preview.preview.toPlainText()
    assert window.setup.data.values()["sources"][0]["ignored_columns"] == ["context"]


def test_every_box_has_a_name_and_a_tooltip(real: FakeEngine, window: MainWindow, qtbot: QtBot, odd: Path) -> None:
    source = add(window, qtbot, path=odd)
    boxes = [box for boxes in source.mapping.boxes.values() for box in boxes]
    assert len({box.accessibleName() for box in boxes}) == len(boxes) == 11
    assert all(box.toolTip() and box.accessibleName().startswith("Column for ") for box in boxes)


def test_a_file_that_is_gone_is_not_asked_about(
    real: FakeEngine, window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    source = add(window, qtbot, path=tmp_path / "gone.csv")
    assert source.error
    assert not source.mapping.isVisible()


def test_why_rows_are_skipped_is_said_once(real: FakeEngine, window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "gaps.jsonl"
    rows = [{"prompt": f"Question {n}", "completion": f"Answer {n}" if n % 3 else ""} for n in range(1, 10)]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = add(window, qtbot, path=path)
    assert source.inspection is not None
    (reason,) = source.inspection.reasons
    assert source._verdict.text.count(reason.text()) == 1
