"""Of many runs only those in view are looked at, and the list stays in order, selected and quick."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.runs import Glance, RunFolder, glance_at
from studio.ui.bridge import AppContext
from studio.ui.models.runs import CURVE, LOSSES_ROLE, NAME, SIZE
from studio.ui.pages.runs import glances
from studio.ui.pages.runs.page import RunsPage
from studio.ui.widgets.table import select_row
from tests.ui.fakes import answered

COUNT = 120


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in the order in which they were looked at; the size of run number n is n MB."""
    paths: list[Path] = []

    def look(folder: RunFolder) -> Glance:
        paths.append(folder.path)
        assert glance_at(folder).size > 0
        return Glance(int(folder.name.rpartition("-")[2]) * 10**6, (2.0, 1.0))

    monkeypatch.setattr(glances, "glance_at", look)
    return paths


@pytest.fixture
def page(context: AppContext, qtbot: QtBot, looked_at: list[Path]) -> RunsPage:
    for number in range(COUNT):
        # The largest is neither the newest nor the oldest.
        folder = RunFolder(context.runs_root / f"20260101-000000-run-{number * 7 % COUNT}")
        folder.path.mkdir(parents=True)
        folder.state.write_text(json.dumps({"status": "finished", "created": float(number)}))
    page = RunsPage(context)
    qtbot.addWidget(page)
    page.resize(1800, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: page.rows.rowCount() == COUNT)
    _settle(page, qtbot)
    return page


def _settle(page: RunsPage, qtbot: QtBot) -> None:
    """Wait until nothing is looked at any more; a look begins when the event loop comes to it."""
    qtbot.waitUntil(lambda: answered(page) and not page._glances._soon.isActive())


def _texts(page: RunsPage, column: int) -> list[str]:
    return [str(page.rows.index(row, column).data()) for row in range(page.rows.rowCount())]


def test_only_runs_in_view_and_near_it_are_looked_at_each_once(page: RunsPage, looked_at: list[Path]) -> None:
    seen = page.table.rowAt(page.table.viewport().height() - 1) + 1
    assert 0 < seen < COUNT / 3
    assert looked_at == [page.rows.run(page.rows.index(row, 0)).folder.path for row in range(2 * seen)]


def test_runs_that_are_scrolled_into_view_are_looked_at_then_and_shown_by_one_signal(
    page: RunsPage, qtbot: QtBot, looked_at: list[Path]
) -> None:
    before, changes = len(looked_at), []
    page.model.dataChanged.connect(lambda *cells: changes.append(cells))
    assert page.rows.index(COUNT - 1, CURVE).data(LOSSES_ROLE) == ()
    page.table.scrollToBottom()
    qtbot.waitUntil(lambda: page.rows.index(COUNT - 1, CURVE).data(LOSSES_ROLE) == (2.0, 1.0))
    _settle(page, qtbot)
    assert page.rows.index(COUNT - 1, SIZE).data() == "0 B"
    assert before < len(looked_at) == len(set(looked_at)) < COUNT
    assert len(changes) == 1


def test_sorting_by_size_looks_at_every_run_and_puts_the_largest_first(
    page: RunsPage, qtbot: QtBot, looked_at: list[Path]
) -> None:
    page.table.sortByColumn(SIZE, Qt.SortOrder.DescendingOrder)
    _settle(page, qtbot)
    assert _texts(page, NAME) == [f"run-{number}" for number in reversed(range(COUNT))]
    assert len(looked_at) == len(set(looked_at)) == COUNT
    page.table.sortByColumn(SIZE, Qt.SortOrder.AscendingOrder)
    assert _texts(page, NAME) == [f"run-{number}" for number in range(COUNT)]


def test_a_list_that_is_read_anew_keeps_its_order_and_looks_again(
    page: RunsPage, qtbot: QtBot, looked_at: list[Path]
) -> None:
    page.table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
    _settle(page, qtbot)
    looked_at.clear()
    page.reload()
    qtbot.waitUntil(lambda: len(looked_at) > 0)
    _settle(page, qtbot)
    assert _texts(page, NAME) == sorted(f"run-{number}" for number in range(COUNT))
    assert looked_at[0].name.endswith("run-0")


def test_the_selected_run_stays_selected_when_the_list_is_sorted(page: RunsPage) -> None:
    select_row(page.table, page.rows.index(3, 0))
    chosen = page.selected()
    page.table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
    assert chosen is not None
    assert page.selected() == chosen


def test_runs_that_a_search_finds_are_looked_at(page: RunsPage, qtbot: QtBot) -> None:
    for name in [name for name in _texts(page, NAME)[COUNT // 2 :] if len(name) == len("run-100")][:2]:
        page.search.setText(name)
        assert page.rows.rowCount() == 1
        qtbot.waitUntil(lambda: page.rows.index(0, CURVE).data(LOSSES_ROLE) == (2.0, 1.0))
        _settle(page, qtbot)
