"""Several runs that are selected on the Runs page are shown beside each other."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.events import StepCompleted
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
    assert list(cells)[:2] == ["Name", "Method  ·  Rank"]  # what differs stands first, in sight
    assert cells["Method  ·  Rank"] == ["16", "4"]
    assert not any("." in setting for setting in cells)  # no key of CONFIG.toml
    assert len(dialog.chart.curves[0].series) > 100
    dialog.reject()


@pytest.fixture
def dialog(context: AppContext, qtbot: QtBot) -> RunsComparison:
    """Two runs of which the second has half the steps, and takes twice the time for each."""
    folders = scripted_runs(context.runs_root)[:2]
    for number, folder in enumerate(folders):
        with Journal(folder.journal) as journal:
            for event in scripted_events():
                if isinstance(event, StepCompleted):
                    event = dataclasses.replace(event, seconds=1.0 + number, tokens=100)
                if not number or getattr(event, "step", 0) <= 106:
                    journal.append(event)
    dialog = RunsComparison(context, folders)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: dialog.model.rowCount() > 0)
    return dialog


def _choose(dialog: RunsComparison, words: str) -> None:
    menu = dialog.toolbar.axes.menu()
    assert menu is not None
    next(action for action in menu.actions() if action.text() == words).trigger()
    for chart in (dialog.chart, dialog.scale):
        chart.draw()


def test_the_runs_are_laid_out_by_updates_tokens_or_time(dialog: RunsComparison) -> None:
    long, short = dialog.chart.curves
    _choose(dialog, "Tokens")
    assert (long.item.xData[-1], short.item.xData[-1]) == (21_200, 10_600)
    _choose(dialog, "Training time")
    assert long.item.xData[-1] == short.item.xData[-1] == 212
    assert dialog.scale.curves[1].item.xData[-1] == pytest.approx(214)  # the last step holds until it is over
    dialog.timeline.set_cursor(100)
    losses = dialog.chart.records[1].series["loss"]
    assert dialog.chart.value_at(short, 100) == losses.at(50)
    _choose(dialog, "Updates")
    assert long.item.xData[-1] == dialog.chart.records[0].state.update


def test_the_values_are_drawn_on_linear_or_logarithmic_axes(dialog: RunsComparison) -> None:
    usual = dialog.scale.curves[0].item.yData.copy()
    _choose(dialog, "Linear axes")
    assert list(np.log2(dialog.scale.curves[0].item.yData)) == pytest.approx(list(usual))
    _choose(dialog, "Logarithmic axes")
    assert list(10 ** dialog.chart.curves[0].item.yData) == pytest.approx(
        list(dialog.chart.records[0].series["loss"].y)
    )


def test_the_numbers_and_the_picture_of_a_comparison_are_saved(
    dialog: RunsComparison, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    menu = dialog.save.button.menu()
    assert menu is not None
    actions = {action.text(): action for action in menu.actions()}
    for name, title in (("steps.csv", "Losses, norms, scales and skips (CSV) …"), ("all.svg", "All plots (picture) …")):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, name=name: (str(tmp_path / name), ""))
        actions[title].trigger()
    assert context.join(10)
    with (tmp_path / "steps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 212 + 106
    assert float(rows[-1]["loss"]) == dialog.chart.records[1].series["loss"].last
    assert rows[-1]["run"] == dialog.chart.records[1].folder.name  # type: ignore[union-attr]
    assert (tmp_path / "all.svg").stat().st_size > 1000
