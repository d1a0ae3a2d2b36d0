"""The comparison of methods in the window: a row each for the chosen model, and one gesture to take one."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton
from pytestqt.qtbot import QtBot

from studio.engine.methods import METHODS, Method
from studio.runner import actions
from studio.ui.dialogs.method_comparison import MethodComparison
from studio.ui.main_window import MainWindow
from studio.ui.models.method_comparison import COLUMNS, COST, EXPORTS, MEMORY, NAME, TRAINED
from tests.ui.fakes import GB, FakeEngine

PATCH, MERGES = 2, 4


def opened(window: MainWindow, qtbot: QtBot) -> MethodComparison:
    qtbot.waitUntil(window.setup.method.compare.isEnabled)
    qtbot.mouseClick(window.setup.method.compare, Qt.MouseButton.LeftButton)
    dialog = window.setup.findChild(MethodComparison)
    assert isinstance(dialog, MethodComparison)
    qtbot.waitUntil(lambda: not dialog.verdict.text)
    return dialog


def cells(dialog: MethodComparison, name: str) -> list[str]:
    place = METHODS.names().index(name)
    return [dialog.model.index(place, column).data() for column in range(len(COLUMNS))]


def click(dialog: MethodComparison, name: str) -> QPoint:
    """Click the first cell of a row; return where."""
    index = dialog.model.index(METHODS.names().index(name), NAME)
    return dialog.table.visualRect(index).center()


def test_every_method_has_a_row_in_the_order_of_the_registry(
    unmergeable: Method, ready: MainWindow, qtbot: QtBot
) -> None:
    dialog = opened(ready, qtbot)
    names = [dialog.model.row(place).name for place in range(dialog.model.rowCount())]
    assert names == list(METHODS.names())
    assert cells(dialog, "lora")[:MEMORY] == ["LoRA\n(chosen)", "4.9 M\n3.5 %", "19 MB"]
    assert cells(dialog, "full")[:MERGES] == ["Full fine-tuning", "135 M\n96 %", "513 MB", "5 GB"]
    assert cells(dialog, "side")[MERGES:] == ["No", "A little of every token.", "Adapter"]
    assert cells(dialog, "lora")[MERGES] == "Yes"
    assert cells(dialog, "lora")[EXPORTS].startswith("Merged model, ")
    dialog.reject()


def test_the_row_of_the_chosen_method_is_selected_and_marked(ready: MainWindow, qtbot: QtBot) -> None:
    ready.setup.method.choice.set_value("full")
    dialog = opened(ready, qtbot)
    assert dialog.chosen is not None
    assert dialog.chosen.name == "full"
    assert cells(dialog, "full")[NAME].endswith("(chosen)")
    assert dialog.use.accessibleName() == "Keep Full fine-tuning"
    qtbot.mouseClick(dialog.table.viewport(), Qt.MouseButton.LeftButton, pos=click(dialog, "lora"))
    assert dialog.use.accessibleName() == "Use LoRA"
    dialog.reject()


@pytest.mark.parametrize("gesture", ["button", "double click", "Enter"])
def test_a_method_is_taken_onto_the_card(ready: MainWindow, qtbot: QtBot, gesture: str) -> None:
    dialog = opened(ready, qtbot)
    viewport = dialog.table.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=click(dialog, "full"))
    if gesture == "button":
        qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    elif gesture == "double click":
        qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=click(dialog, "full"))
    else:
        qtbot.keyClick(dialog.table, Qt.Key.Key_Return)
    assert ready.setup.method.name == "full"
    assert ready.setup.config().training.learning_rate == METHODS.get("full").suggested_learning_rate
    assert not dialog.isVisible()


def test_arrow_keys_reach_every_row(ready: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(ready, qtbot)
    seen = []
    for _ in METHODS.names():
        assert dialog.chosen is not None
        seen.append(dialog.chosen.name)
        qtbot.keyClick(dialog.table, Qt.Key.Key_Down)
    assert seen == list(METHODS.names())
    dialog.reject()


def test_escape_changes_nothing(ready: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(ready, qtbot)
    qtbot.mouseClick(dialog.table.viewport(), Qt.MouseButton.LeftButton, pos=click(dialog, "full"))
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert ready.setup.method.name == "lora"
    qtbot.waitUntil(lambda: ready.setup.findChild(MethodComparison) is None)


def test_a_method_that_does_not_suit_the_model_says_why_in_its_row_and_cannot_be_taken(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.unsuited = {"full": "Full fine-tuning does not know the layout of this model."}
    dialog = opened(ready, qtbot)
    place = METHODS.names().index("full")
    assert cells(dialog, "full")[TRAINED] == engine.unsuited["full"]
    assert dialog.table.columnSpan(place, TRAINED) == len(COLUMNS) - TRAINED
    assert cells(dialog, "lora")[TRAINED] == "4.9 M\n3.5 %"
    qtbot.mouseClick(dialog.table.viewport(), Qt.MouseButton.LeftButton, pos=click(dialog, "full"))
    assert not dialog.use.isEnabled()
    assert dialog.use.toolTip() == engine.unsuited["full"]
    qtbot.keyClick(dialog.table, Qt.Key.Key_Return)
    assert ready.setup.method.name == "lora"
    dialog.reject()


def test_what_does_not_fit_is_marked_in_words_and_the_parts_are_named(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.total_bytes = 30 * GB
    dialog = opened(ready, qtbot)
    index = dialog.model.index(0, MEMORY)
    assert index.data() == "30 GB, does not fit"
    assert index.data(Qt.ItemDataRole.ToolTipRole) == "Weights 1 GB, Activations 29 GB"
    assert index.data(Qt.ItemDataRole.AccessibleTextRole) == "30 GB, does not fit: Weights 1 GB, Activations 29 GB"
    assert dialog.legend.accessibleName() == "Weights 1 GB, Activations 29 GB"
    dialog.reject()


def test_bars_of_all_methods_are_drawn_to_one_scale(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine
) -> None:
    """A method that needs half of what the largest needs has a bar of half the length."""

    def estimate(_info: object, config: Any, **_: Any) -> Any:
        engine.total_bytes = (8 if config.method.name == "full" else 4) * GB
        return FakeEngine.estimate(engine, _info, config)

    monkeypatch.setattr(engine, "estimate", estimate)
    dialog = opened(ready, qtbot)
    filled = {}
    for name in ("lora", "full"):
        area = dialog.table.visualRect(dialog.model.index(METHODS.names().index(name), MEMORY))
        picture = dialog.table.viewport().grab(area).toImage()
        rows = [
            sum(picture.pixelColor(x, y).name() in _series() for x in range(picture.width()))
            for y in range(picture.height())
        ]
        filled[name] = max(rows)
    assert filled["full"] > 50
    assert filled["lora"] == pytest.approx(filled["full"] / 2, rel=0.1)
    dialog.reject()


def _series() -> set[str]:
    from studio.ui import theme

    return {theme.palette().series_1.name(), theme.palette().series_5.name()}


def test_options_that_the_user_has_set_are_what_the_rows_are_about(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    ready.setup.method.form.rows["rank"].editor.set_value(3)
    ready.setup.method.choice.set_value("full")
    dialog = opened(ready, qtbot)
    tables = {table["name"]: table for table in engine.compared}
    assert tables["lora"]["rank"] == 3
    qtbot.mouseClick(dialog.table.viewport(), Qt.MouseButton.LeftButton, pos=click(dialog, "lora"))
    qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    assert ready.setup.config().method.model_dump()["rank"] == 3


def test_what_stands_in_the_way_of_all_is_said_in_the_dialog(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(actions, "compare_methods", fail)
    ready.setup.compare_methods()
    dialog = ready.setup.findChild(MethodComparison)
    assert isinstance(dialog, MethodComparison)
    qtbot.waitUntil(lambda: dialog.verdict.level == "bad")
    assert "KeyError" in dialog.verdict.text
    assert not dialog.use.isEnabled()
    dialog.reject()


def test_every_control_has_a_name_and_every_column_says_what_it_means(ready: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(ready, qtbot)
    assert all(button.accessibleName() for button in dialog.findChildren(QAbstractButton) if button.isVisible())
    assert dialog.table.accessibleName()
    horizontal, tip = Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole
    assert all(dialog.model.headerData(column, horizontal, tip) for column in range(len(COLUMNS)))
    dialog.reject()


def test_no_word_of_the_table_is_cut_off(unmergeable: Method, ready: MainWindow, qtbot: QtBot) -> None:
    """At the size that the dialog opens with, every cell has room for all of its text."""
    dialog = opened(ready, qtbot)
    metrics, padding = dialog.table.fontMetrics(), 2 * (dialog.table.fontMetrics().height() // 2 + 3)
    for place in range(dialog.model.rowCount()):
        for column in (NAME, COST, EXPORTS):
            area = dialog.table.visualRect(dialog.model.index(place, column)).adjusted(0, 0, -padding, 0)
            text = dialog.model.index(place, column).data()
            needed = metrics.boundingRect(area, Qt.TextFlag.TextWordWrap, text)
            assert needed.height() <= area.height(), text
    assert dialog.width() <= 1280
    assert dialog.height() <= 760
    dialog.reject()
