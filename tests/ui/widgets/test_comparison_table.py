"""A table that compares things: its stretched column stays readable, and rows are as high as their words."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui import theme
from studio.ui.widgets.table import LEAST, ComparisonTable


def _shown(qtbot: QtBot, stretched: int | None, width: int, first: str = "one-model-of-many") -> ComparisonTable:
    model = QStandardItemModel(2, 4)
    model.setHorizontalHeaderLabels(["Model", "Parameters", "Licence", "Changed"])
    for column, text in enumerate((first, "752 M", "apache-2.0", "2026-11-30")):
        model.setItem(0, column, QStandardItem(text))
        model.setItem(1, column, QStandardItem("-"))
    table = ComparisonTable(model, "Models", stretched)
    model.setParent(table)
    qtbot.addWidget(table)
    table.resize(width, 200)
    table.show()
    QApplication.processEvents()
    return table


@pytest.mark.parametrize("stretched", [0, 2])
def test_a_narrow_table_scrolls_sideways_and_keeps_its_stretched_column(qtbot: QtBot, stretched: int) -> None:
    table = _shown(qtbot, stretched, 240)
    assert table.columnWidth(stretched) == theme.characters(LEAST)
    assert table.horizontalScrollBar().maximum() > 0

    table.resize(1200, 200)
    QApplication.processEvents()
    assert table.columnWidth(stretched) > 2 * theme.characters(LEAST)
    assert table.horizontalScrollBar().maximum() == 0

    table.resize(240, 200)
    QApplication.processEvents()
    assert table.columnWidth(stretched) == theme.characters(LEAST)


def test_columns_of_equal_width_stay_readable_too(qtbot: QtBot) -> None:
    table = _shown(qtbot, None, 200)
    assert min(table.columnWidth(column) for column in range(4)) >= theme.characters(LEAST // 2)
    table.resize(1200, 200)
    QApplication.processEvents()
    assert table.columnWidth(0) > theme.characters(LEAST)


def test_rows_whose_words_fit_are_equally_high_from_the_first_sight(qtbot: QtBot, dressed: QApplication) -> None:
    table = _shown(qtbot, 0, 700, "Training loss, last steps")
    assert table.rowHeight(0) == table.rowHeight(1)


def test_a_row_is_as_high_as_its_wrapped_words(qtbot: QtBot) -> None:
    table = _shown(qtbot, 0, 240)
    low = table.rowHeight(0)
    table.model().setData(table.model().index(0, 0), "one model of many " * 8)
    table.resizeRowsToContents()
    lines = table.rowHeight(0) / table.fontMetrics().height()
    assert table.rowHeight(0) > low
    assert lines > 6
