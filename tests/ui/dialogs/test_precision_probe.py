"""The precision probe in the window: rows as they come, the best in sight, one click to take it, Cancel at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton
from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.errors import DataError
from studio.runner.probe import ProbeResult, ProbeRow
from studio.ui.bridge import AppContext
from studio.ui.dialogs import precision_probe
from studio.ui.dialogs.precision_probe import PrecisionProbe
from studio.ui.main_window import MainWindow
from studio.ui.models.probe import RESULT

MEASURED = {
    "status": "measured",
    "loss_differences": (0.0, 0.0004),
    "gradient_cosine": 0.9997,
    "gradients_lost": 0.0,
    "tokens_per_second": 304.0,
    "peak_memory": 2_600_000_000,
    "sentence": "Follows fp32.",
}
ROWS = (
    ProbeRow(precision="fp32", **MEASURED),
    ProbeRow(precision="bf16-mixed", **MEASURED),
    ProbeRow(precision="fp16-mixed", status="not_finite", sentence="Not finite in update 1: layer 3."),
    ProbeRow(precision="bf16-pure", **(MEASURED | {"updates_lost": 0.4, "sentence": "Rounding loses 40 %."})),
    ProbeRow(precision="fp16-pure", status="failed", sentence="Its process crashed (SIGSEGV)."),
)
RESULT_OF_PROBE = ProbeResult(rows=ROWS, recommended="bf16-mixed", reason="bf16 mixed follows fp32.", steps=3)
Fake = Callable[[Any, int, Progress, Callable[[ProbeRow], None]], ProbeResult]


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fake], None]:
    return lambda fake: monkeypatch.setattr(precision_probe, "probe", fake)


def _at_once(config: Any, steps: int, progress: Progress, see: Callable[[ProbeRow], None]) -> ProbeResult:
    for row in ROWS:
        see(row)
    progress("training", 20, 20)
    return RESULT_OF_PROBE


class _Held:
    """A probe that has measured two rows and goes on until it is cancelled."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, config: Any, steps: int, progress: Progress, see: Callable[[ProbeRow], None]) -> ProbeResult:
        for row in ROWS[:2]:
            see(row)
        try:
            while True:
                progress("fp16 mixed · Training", 9, 20)
        finally:
            self.ended.set()


def _open(ready: MainWindow, qtbot: QtBot) -> PrecisionProbe:
    qtbot.mouseClick(ready.setup.precision.probe, Qt.MouseButton.LeftButton)
    dialog = ready.setup.findChild(PrecisionProbe)
    assert isinstance(dialog, PrecisionProbe)
    return dialog


def _results(dialog: PrecisionProbe) -> list[str]:
    return [dialog.model.index(place, RESULT).data() for place in range(dialog.model.rowCount())]


def test_one_click_takes_the_best(ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None]) -> None:
    probing(_at_once)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(dialog.use.isEnabled)
    assert dialog.verdict.text == "bf16 mixed follows fp32."
    assert dialog.use.accessibleName() == "Use bf16 mixed"
    assert _results(dialog)[1] == "Best here. Follows fp32."
    assert _results(dialog)[4] == "Its process crashed (SIGSEGV)."
    shown = [dialog.model.index(1, column).data() for column in range(1, RESULT)]
    assert shown == ["0.04 %", "0.9997", "0 %", "–", "304", "2.4 GB"]
    qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    assert ready.setup.precision.name == "bf16-mixed"
    assert ready.setup.config().precision.name == "bf16-mixed"
    assert not dialog.isVisible()


def test_another_that_works_can_be_taken_and_one_that_does_not_cannot(
    ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None]
) -> None:
    probing(_at_once)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(dialog.use.isEnabled)
    dialog.table.selectRow(2)
    assert not dialog.use.isEnabled()
    assert "works" in dialog.use.toolTip()
    dialog.table.selectRow(0)
    dialog.table.setFocus()
    qtbot.keyClick(dialog.table, Qt.Key.Key_Return)
    assert ready.setup.precision.name == "fp32"


def test_rows_are_shown_as_they_come_and_stay_when_the_user_cancels(
    ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None]
) -> None:
    held = _Held()
    probing(held)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(lambda: _results(dialog)[:3] == ["Follows fp32.", "Follows fp32.", "Measuring …"])
    assert dialog.progress.isVisible()
    qtbot.mouseClick(dialog.progress.cancel, Qt.MouseButton.LeftButton)
    assert held.ended.wait(5)
    assert not dialog.progress.isVisible()
    assert dialog.verdict.text.startswith("Cancelled")
    assert _results(dialog)[1:3] == ["Follows fp32.", "Not measured yet"]
    probing(_at_once)
    qtbot.mouseClick(dialog.again, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dialog.use.isEnabled)
    dialog.reject()


def test_closing_the_dialog_ends_the_probe_and_changes_nothing(
    ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None], context: AppContext
) -> None:
    held = _Held()
    probing(held)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(lambda: context.busy)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert held.ended.wait(5)
    assert ready.setup.precision.name == "auto"
    qtbot.waitUntil(lambda: not context.busy)


def test_what_stands_in_the_way_of_all_is_said_in_the_dialog(
    ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None]
) -> None:
    def refuse(*_: Any) -> ProbeResult:
        raise DataError("rows.jsonl, line 3: not JSON; mend the line.")

    probing(refuse)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(lambda: bool(dialog.verdict.text))
    assert dialog.verdict.text == "rows.jsonl, line 3: not JSON; mend the line."
    assert not dialog.use.isEnabled()
    assert dialog.again.isEnabled()
    dialog.reject()


def test_the_button_says_why_it_cannot_be_pressed(window: MainWindow, qtbot: QtBot) -> None:
    assert not window.setup.precision.probe.isEnabled()
    assert window.setup.precision.probe.toolTip()


def test_nothing_is_compared_while_a_run_trains(ready: MainWindow, qtbot: QtBot, context: AppContext) -> None:
    assert ready.setup.precision.probe.isEnabled()
    context.start_run(ready.setup.config())
    qtbot.waitUntil(lambda: not ready.setup.precision.probe.isEnabled())
    assert "training" in ready.setup.precision.probe.toolTip()
    assert not ready.setup.findChildren(PrecisionProbe)


def test_every_control_has_a_name_and_every_column_says_what_it_means(
    ready: MainWindow, qtbot: QtBot, probing: Callable[[Fake], None]
) -> None:
    probing(_at_once)
    dialog = _open(ready, qtbot)
    qtbot.waitUntil(dialog.use.isEnabled)
    assert all(button.accessibleName() for button in dialog.findChildren(QAbstractButton) if button.isVisible())
    assert dialog.table.accessibleName()
    horizontal, tip = Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole
    assert all(dialog.model.headerData(column, horizontal, tip) for column in range(1, RESULT))
    dialog.reject()
