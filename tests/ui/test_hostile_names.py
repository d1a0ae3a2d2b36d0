"""Names of strangers on every page and in every dialog: drawn as they are written, and nothing fails on them."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QAbstractListModel, QItemSelectionModel, Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QMenu,
    QMessageBox,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from studio.config import DataSource, parse_config
from studio.engine.control import Progress
from studio.engine.data.inspect import DataInspection, inspect_data, peek_columns
from studio.errors import DataError
from studio.events import CheckpointSaved, RunEvent, from_json, to_json
from studio.runner import actions
from studio.runner.actions import Found
from studio.runner.state import LogLine
from studio.runs import Journal, RunFolder
from studio.ui.dialogs.hub.search import FindOnHub
from studio.ui.main_window import PAGES, MainWindow
from studio.ui.pages.runs import delete
from studio.ui.pages.runs.page import RunsPage
from studio.ui.plain_text import PlainText
from tests.i18n.test_pages import texts
from tests.screenshots.scripted import CONFIG, START, scripted_certificate, scripted_events, scripted_runs
from tests.ui.fakes import FakeEngine, answered

HTML = '<img src="file:///x"><b>'
NAME = HTML + "{name} {0} &amp; %s %(x)d\na \N{RIGHT-TO-LEFT OVERRIDE}exe.txt " + "n" * 300
# No folder's or file's name has a slash, or so many letters.
FILE = NAME.replace("/", "\N{DIVISION SLASH}")[:160]
MARK, TURN = "{name} {0} ", "\N{RIGHT-TO-LEFT OVERRIDE}"


def hostile(event: RunEvent) -> RunEvent:
    """Return a scripted event with hostile names in it."""
    text = to_json(event)
    for name in ("SmolLM2-135M-Instruct", "/data/train.jsonl", "20261123-101500-smollm2"):
        text = text.replace(f'"{name}"', json.dumps(NAME))
    return from_json(text)


def write_runs(root: Path) -> list[RunFolder]:
    """Write runs whose names, models, data, exports and checkpoints are hostile."""
    found = []
    for number, run in enumerate(scripted_runs(root)):
        folder = RunFolder(run.path.rename(root / f"{FILE}{number}"))
        config = CONFIG.replace('"/models/SmolLM2-135M-Instruct"', json.dumps(f"/models/{NAME}"))
        folder.config.write_text(config.replace('"/data/train.jsonl"', json.dumps(f"/data/{NAME}")), encoding="utf-8")
        folder.write_state(folder.read_state()["status"], model={"name": NAME, "path": f"/{NAME}", "kind": "chat"})
        with Journal(folder.journal) as journal:
            for event in [*scripted_events(), CheckpointSaved(step=200, update=192, path=f"/{NAME}")]:
                journal.append(hostile(event))
        scripted_certificate(folder, FILE, number == 0, START)
        certificate = folder.exports / FILE / "certificate.json"
        values = json.loads(certificate.read_text(encoding="utf-8"))
        values |= {"base": {"name": NAME}, "files": {NAME: {"bytes": 1, "sha256": "0" * 64}}}
        certificate.write_text(json.dumps(values), encoding="utf-8")
        found.append(folder)
    return found


def write_data(path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[NAME, "question", "answer"], *([[NAME, NAME, NAME]] * 4)])
    return path


@pytest.fixture(autouse=True)
def rule(qapp: QApplication) -> None:
    if not qapp.findChildren(PlainText):
        PlainText(qapp)


@pytest.fixture
def real(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with rows are read for real; the hub finds a hostile model."""

    def read(source: DataSource, _: Any, __: Any, rows: int, progress: Progress, ___: int) -> DataInspection:
        return inspect_data(source, rows=rows, progress=progress)

    def refuse(*_: Any) -> None:
        raise DataError(f"{NAME} cannot be read.")

    monkeypatch.setattr(actions, "open_data", read)
    monkeypatch.setattr(actions, "open_xray", refuse)
    monkeypatch.setattr(actions, "peek_columns", peek_columns)
    monkeypatch.setattr(actions, "search_hub", lambda *_, **__: [Found(id=NAME)])
    monkeypatch.setattr(actions, "list_downloaded", lambda: [NAME])
    monkeypatch.setattr(actions, "list_unfinished", lambda: {NAME: 5})
    monkeypatch.setattr(actions, "outlooks", lambda *_, **__: None)


def select(page: RunsPage, *rows: int) -> None:
    page.table.clearSelection()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    for row in rows:
        page.table.selectionModel().select(page.rows.index(row, 0), flags)


def wrong(root: QWidget) -> Iterator[str]:
    """Yield what of a window is not drawn as it is written."""
    for widget in (root, *root.findChildren(QWidget)):
        place = f"{type(widget).__name__} in {type(widget.parent()).__name__}"
        keyed: list[str] = []
        drawn: list[str] = []
        match widget:
            case QLabel():
                drawn = [widget.text()] if widget.isVisible() else []
                keyed = [widget.text()] if widget.buddy() else []
                if MARK in widget.text() and widget.textFormat() != Qt.TextFormat.PlainText:
                    yield f"{place} reads HTML"
            case QAbstractButton():
                keyed = drawn = [widget.text()]
            case QMenu():
                keyed = drawn = [action.text() for action in widget.actions()]
            case QComboBox():
                drawn = [widget.itemText(number) for number in range(widget.count())]
            case QAbstractItemView() if (model := widget.model()) is not None:
                columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount()
                places = [(row, column) for row in range(model.rowCount()) for column in range(columns)]
                drawn = [str(model.index(row, column).data() or "") for row, column in places]
            case QTextEdit() | QPlainTextEdit():
                if widget.toPlainText().count("<img src=") != widget.toPlainText().count(MARK):
                    yield f"{place} reads HTML"
        if any(MARK in text and "&&amp;" not in text for text in keyed):
            yield f"{place} takes & for a key"
        if any(TURN in text for text in drawn):
            yield f"{place} turns the text that follows"


class Look:
    """Looks at windows; `shown` are those that show the name."""

    def __init__(self, window: MainWindow, qtbot: QtBot) -> None:
        self._window, self._qtbot = window, qtbot
        self.shown: set[str] = set()

    def at(self, name: str, root: QWidget) -> None:
        self._qtbot.waitUntil(lambda: answered(self._window), timeout=20_000)
        self._window.context.tick()
        root.grab()  # as it is drawn
        assert not (found := set(wrong(root))), f"{name}: {found}"
        if any(MARK in text for text in texts(root)):
            self.shown.add(name)

    def at_dialog(self, name: str, opener: Callable[[], object]) -> None:
        before = set(self._window.findChildren(QDialog))
        opener()
        (dialog,) = set(self._window.findChildren(QDialog)) - before
        if isinstance(dialog, FindOnHub):
            dialog.words.setText("x")
            dialog.search()
        self.at(name, dialog)
        dialog.close()


@pytest.fixture
def look(window: MainWindow, real: None, qtbot: QtBot, tmp_path: Path) -> Look:
    """The window with hostile names in everything that it shows, at the Runs page."""
    model = tmp_path / FILE
    model.mkdir()
    data = write_data(tmp_path / f"{FILE}.csv")
    runs = write_runs(window.context.runs_root)
    window.setup.set_tables({"model": {"path": str(model)}, "data": {"sources": [{"path": str(data)}]}})
    qtbot.waitUntil(lambda: bool(window.setup.data.sources) and window.setup.model.info is not None)
    config = parse_config({"model": {"path": NAME}, "data": {"sources": [{"path": NAME}]}})
    queue: Any = window.context.queue
    queue.runs = (dataclasses.replace(queue.add(config, tmp_path), title=NAME, problem=NAME),)
    window.go_to("runs")
    page = window.findChild(RunsPage)
    qtbot.waitUntil(lambda: page.rows.rowCount() == len(runs))
    page.show_run(runs[0])
    qtbot.waitUntil(lambda: window.context.record is not None)
    window.context.record.apply(LogLine(NAME))
    return Look(window, qtbot)


def test_pages_show_hostile_names_as_they_are_written(
    window: MainWindow, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    for name in PAGES:
        window.go_to(name)
        look.at(name, window)
    assert look.shown == set(PAGES)
    area = window.setup.area
    assert area.widget().width() <= area.viewport().width()  # a word without an end makes no page wider
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_dialogs_show_hostile_names_as_they_are_written(
    window: MainWindow, look: Look, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = window.findChild(RunsPage)
    for name in PAGES:
        window.go_to(name)
    window.go_to("runs")

    def compare() -> None:
        select(page, 0, 1)
        page.compare.click()

    for name, opener in {
        "method comparison": window.setup.compare_methods,
        "x-ray": window.setup.data.sources[0].open_xray,
        "dataset of the hub": window.setup.data.ask_hub,
        "hub": window.setup.model.find_on_hub,
        "queue": window.actions_by_name["queue"].trigger,
        "cluster": window.actions_by_name["cluster"].trigger,
        "train on": page.go_on.click,
        "push": lambda: window.pages["export"].certificate.push.click(),
        "runs compared": compare,
    }.items():
        look.at_dialog(name, opener)

    def ask(box: QMessageBox) -> None:
        box.show()
        look.at("question", box)
        box.close()

    monkeypatch.setattr(QMessageBox, "exec", ask)
    delete.ask_trash(window, NAME)
    delete.ask_for_good(window, NAME)
    assert look.shown >= {"hub", "queue", "x-ray", "question"}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
