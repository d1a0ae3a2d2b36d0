"""Several runs that are selected on the Runs page are shown beside each other."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, Qt
from pytestqt.qtbot import QtBot

from studio.runs import Journal
from studio.ui.bridge import AppContext
from studio.ui.dialogs.runs_comparison import RunsComparison
from studio.ui.pages.runs.page import RunsPage
from tests.screenshots.scripted import scripted_events, scripted_runs


def _select(page: RunsPage, *rows: int) -> None:
    page.table.clearSelection()
    for row in rows:
        flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        page.table.selectionModel().select(page.rows.index(row, 0), flags)


def _cells(dialog: RunsComparison) -> dict[str, list[str]]:
    model = dialog.model
    columns = range(1, model.columnCount())
    return {model.item(row, 0).text(): [model.item(row, c).text() for c in columns] for row in range(model.rowCount())}


def test_two_selected_runs_are_compared_and_nothing_else_is_offered(context: AppContext, qtbot: QtBot) -> None:
    folders = scripted_runs(context.runs_root)
    for folder in folders[:2]:
        with Journal(folder.journal) as journal:
            for event in scripted_events():
                journal.append(event)
    settings = folders[1].config.read_text(encoding="utf-8")
    folders[1].config.write_text(settings.replace("rank = 16", "rank = 4"), encoding="utf-8")
    page = RunsPage(context)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(lambda: page.rows.rowCount() == len(folders))
    assert not page.compare.isEnabled()
    _select(page, 0, 1, 2, 3)
    assert not page.compare.isEnabled()
    _select(page, 0, 1)
    assert page.compare.isEnabled()
    assert not any(button.isEnabled() for button in (page.open, page.delete, page.go_on, page.detail.reuse))
    qtbot.mouseClick(page.compare, Qt.MouseButton.LeftButton)
    dialog = page.findChild(RunsComparison)
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.model.rowCount() > 0)
    cells = _cells(dialog)
    assert cells["Name"] == [folder.name for folder in folders[:2]]
    assert int(cells["Updates"][0]) > 100
    assert cells["method.rank"] == ["16", "4"]
    assert "model.path" not in cells
    assert len(dialog.chart.curves[0].series) > 100
    dialog.reject()
