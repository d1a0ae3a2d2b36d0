from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PySide6.QtCore import SIGNAL, QEvent, QObject, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from studio.config import write_config
from studio.events import (
    DataPrepared,
    EvaluationCompleted,
    OverflowDiagnosed,
    ProgressReported,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    StepCompleted,
)
from studio.runner import actions
from studio.ui import theme
from studio.ui.actions import COMMANDS, MENUS, PAGES
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import ElidedLabel
from tests.ui.fakes import FakeController, FakeEngine

CONTROLS = (QAbstractButton, QLineEdit, QComboBox, QAbstractSlider, QTextEdit, QScrollArea)
STARTED = RunStarted(
    run="r",
    model="SmolLM2",
    kind="chat",
    method="lora",
    precision="fp16-mixed",
    device="cpu",
    versions={},
)  # fmt: skip


def step(number: int, **changes: Any) -> StepCompleted:
    values: dict[str, Any] = {
        "step": number, "update": number, "epoch": 0.1, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0,
        "grad_scale": None, "skipped": False, "tokens": 300, "supervised_tokens": 100, "micro_batches": 1, "seconds": 1.0,
    }  # fmt: skip
    return StepCompleted(**(values | changes))


def feed(window: MainWindow, controller: FakeController, events: Iterable[Any]) -> None:
    controller.updates.extend(events)
    window.context.tick()


def answer(qtbot: QtBot, box: QMessageBox, words: str) -> None:
    button = next(button for button in box.buttons() if button.text().replace("&", "") == words)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def training(ready: MainWindow) -> MainWindow:
    ready.start()
    return ready


def test_the_pages_are_made_without_a_window_of_their_own_flashing_up(window: MainWindow, qtbot: QtBot) -> None:
    class Windows(QObject):
        shown: ClassVar[list[str]] = []

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
                self.shown.append(type(watched).__name__)
            return False

    application, windows = theme.application(), Windows()
    application.installEventFilter(windows)
    window.prepare_pages()
    qtbot.waitUntil(lambda: set(window.pages) == set(PAGES))
    application.removeEventFilter(windows)
    assert windows.shown == []


def test_every_command_is_in_a_menu_and_no_shortcut_is_given_twice(window: MainWindow) -> None:
    assert set(window.actions_by_name) == {command.name for command in COMMANDS}
    assert {command.menu for command in COMMANDS} <= set(MENUS)
    shortcuts = Counter(keys for command in COMMANDS for keys in command.shortcut.split())
    assert max(shortcuts.values()) == 1
    for command in COMMANDS:
        action = window.actions_by_name[command.name]
        assert action.toolTip()
        assert action.shortcuts() == [QKeySequence(keys) for keys in command.shortcut.split()]


def test_no_button_of_a_page_has_the_shortcut_of_a_command(window: MainWindow, qtbot: QtBot) -> None:
    window.prepare_pages()
    qtbot.waitUntil(lambda: set(window.pages) == set(PAGES))
    commands = {key.toString() for action in window.actions_by_name.values() for key in action.shortcuts()}
    buttons = {one.shortcut().toString(): one.accessibleName() for one in window.findChildren(QAbstractButton)}
    assert buttons["Ctrl+Shift+E"] == "Merge, export and check"
    assert not commands & buttons.keys()


def test_start_is_disabled_with_the_reason_beside_it(window: MainWindow) -> None:
    assert not window.run_bar.start.isEnabled()
    assert window.run_bar.reason.isVisible()
    assert window.run_bar.reason.text() == "Choose a model first."
    assert window.run_bar.start.accessibleDescription() == "Choose a model first."


def test_start_trains_with_what_the_page_says_and_shows_the_training(
    ready: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    qtbot.waitUntil(ready.run_bar.start.isEnabled)
    assert not ready.run_bar.reason.isVisible()
    expected = ready.setup.config()
    qtbot.mouseClick(ready.run_bar.start, Qt.MouseButton.LeftButton)
    assert controller.started == [expected]
    assert ready.page == "train"
    assert not ready.actions_by_name["start"].isEnabled()


def test_the_run_bar_shows_how_far_how_fast_and_how_long(training: MainWindow, controller: FakeController) -> None:
    bar = training.run_bar
    feed(training, controller, [STARTED, ProgressReported(stage="loading_model", done=1, total=4)])
    assert (bar.status.text(), bar.words.whole_text) == ("Training", "Loading the model · 25 %")
    assert bar.bar.value() == 250
    feed(training, controller, [step(1), step(2)])
    assert bar.words.whole_text == "SmolLM2 · LoRA · fp16 mixed"
    assert "300 tokens/s" in bar.facts.whole_text


def test_a_validation_does_not_hide_how_far_the_run_is(training: MainWindow, controller: FakeController) -> None:
    bar, page = training.run_bar, training.pages["train"]
    prepared = DataPrepared(
        train_rows=80, validation_rows=2, general_rows=0, skipped_rows=0, skipped=[], tokens=900, supervised_tokens=500,
        longest=20, planned_updates=10,
    )  # fmt: skip
    feed(training, controller, [STARTED, prepared, step(4), ProgressReported(stage="evaluating", done=1, total=2)])
    assert bar.bar.value() == 400
    assert bar.words.whole_text == "Measuring the validation loss · 50 %"
    assert bar.facts.whole_text.startswith("update 4 of 10")
    measured = EvaluationCompleted(step=4, update=4, loss=1.0, supervised_tokens=5, rows=2, held_out=2, seconds=1.0)
    feed(training, controller, [measured])
    assert bar.bar.value() == 400
    assert bar.words.whole_text == "SmolLM2 · LoRA · fp16 mixed"
    assert page.figures.figures["status"].text == "Status: Running update 4 of 10"  # type: ignore[attr-defined]


def test_cancelling_is_said_at_once(qtbot: QtBot) -> None:
    progress = TaskProgress()
    qtbot.addWidget(progress)
    progress.report("downloading", 1, 4)
    progress.cancel.click()
    progress.report("downloading", 2, 4)  # it has not heard of it yet
    words = progress.findChild(ElidedLabel)
    assert words.whole_text == "Cancelling …"
    assert not progress.cancel.isEnabled()
    progress.hide()
    progress.report("reading_data", 0, 0)
    assert words.whole_text == "Reading the data …"
    assert progress.cancel.isEnabled()


def test_a_finished_run_frees_start_and_its_failure_is_said(training: MainWindow, controller: FakeController) -> None:
    feed(training, controller, [STARTED, step(1)])
    controller.running = False
    end = RunFinished(
        status="finished", step=1, update=1, trainable_parameters=1, total_parameters=2, adapter_bytes=1,
        peak_memory=1, seconds=1.0,
    )  # fmt: skip
    feed(training, controller, [end])
    assert training.run_bar.status.text() == "Finished"
    assert training.actions_by_name["start"].isEnabled()
    assert not training.run_bar.stop.isVisible()


def test_pause_becomes_resume(training: MainWindow, controller: FakeController, qtbot: QtBot) -> None:
    qtbot.mouseClick(training.run_bar.pause, Qt.MouseButton.LeftButton)
    assert controller.pausing
    assert training.run_bar.pause.accessibleName() == "Resume"
    qtbot.mouseClick(training.run_bar.pause, Qt.MouseButton.LeftButton)
    assert not controller.pausing


def test_stop_saves_and_says_that_it_is_stopping(
    training: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    qtbot.mouseClick(training.run_bar.stop, Qt.MouseButton.LeftButton)
    assert controller.stops == [True]
    assert training.run_bar.status.text() == "Stopping …"


@pytest.mark.parametrize(("words", "save"), [("Stop and save", True), ("Quit without saving", False)])
def test_closing_while_training_asks_then_waits_for_the_worker(
    training: MainWindow, controller: FakeController, qtbot: QtBot, words: str, save: bool
) -> None:
    assert not training.close()
    answer(qtbot, training.closing.question, words)
    assert controller.stops == [save]
    assert training.isVisible()
    assert training.run_bar.status.text() == "Stopping …"
    assert not training.close()
    controller.running = False
    qtbot.waitUntil(lambda: not training.isVisible())


def test_keep_training_cancels_closing(training: MainWindow, controller: FakeController, qtbot: QtBot) -> None:
    training.close()
    answer(qtbot, training.closing.question, "Keep training")
    assert controller.stops == []
    assert training.isVisible()
    assert training.closing.question is None
    training.close()
    assert training.closing.question is not None
    qtbot.keyClick(training.closing.question, Qt.Key.Key_Escape)
    assert controller.stops == []


def test_closing_without_a_run_cancels_what_is_under_way_and_closes(
    window: MainWindow, context: AppContext, qtbot: QtBot
) -> None:
    def endless(progress: Any) -> None:
        while True:
            progress("reading_data", 0, 0)

    context.start_task("endless", endless)
    assert not window.close()
    assert window.closing.question is None
    qtbot.waitUntil(lambda: not window.isVisible())


def test_a_refusal_to_start_is_said_across_the_page(
    ready: MainWindow, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.context.settings.runs_root.parent.joinpath("runs").write_text("a file, not a folder")
    ready.start()
    assert "No run folder can be written" in ready.banner.text


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_a_key(window: MainWindow, name: str) -> None:
    window.actions_by_name[f"page_{name}"].trigger()
    assert window.page == name
    assert window.rail[name].isChecked()


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name_for_screen_readers(ready: MainWindow, name: str) -> None:
    ready.start()
    ready.go_to(name)
    nameless = [
        f"{type(control).__name__} in {type(control.parent()).__name__}"
        for kind in CONTROLS
        for control in ready.findChildren(kind)
        if control.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not isinstance(control, QScrollBar)
        and not (control.accessibleName() or (isinstance(control, QPushButton) and control.text()))
    ]
    assert nameless == []


def test_the_keyboard_reaches_every_control_of_the_setup_page(ready: MainWindow, qtbot: QtBot) -> None:
    for disclosure in (ready.setup.training.form.more, ready.setup.precision.form.more):
        disclosure.open()
    wanted = {
        control
        for kind in CONTROLS
        for control in ready.setup.findChildren(kind)
        if control.isVisible() and control.isEnabled() and control.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not isinstance(control, QScrollBar)
    }  # fmt: skip
    reached: set[QWidget | None] = set()
    for _ in range(2 * len(wanted) + 40):
        qtbot.keyClick(ready.focusWidget(), Qt.Key.Key_Tab)
        reached.add(ready.focusWidget())
    # Of a group of exclusive buttons Tab reaches the taken one; the arrow keys reach the others.
    missed = {control for control in wanted - reached if not _is_untaken_choice(control)}
    assert {control.accessibleName() for control in missed} == set()


def _is_untaken_choice(control: QWidget) -> bool:
    return isinstance(control, QPushButton) and control.isCheckable() and not control.isChecked()


def test_what_is_reached_by_tab_is_scrolled_into_sight(ready: MainWindow) -> None:
    ready.setup.training.form.rows["learning_rate"].editor.main.setFocus(Qt.FocusReason.TabFocusReason)
    assert not ready.setup.training.form.rows["learning_rate"].editor.main.visibleRegion().isEmpty()


def test_nothing_is_wider_than_the_page_at_1280_by_800(ready: MainWindow) -> None:
    assert ready.width() == 1280
    assert ready.setup.area.horizontalScrollBar().maximum() == 0


def test_the_theme_is_chosen_in_the_menu_and_remembered(window: MainWindow) -> None:
    window.actions_by_name["theme_dark"].trigger()
    assert theme.palette() is theme.DARK
    assert window.context.settings.theme == "dark"
    window.actions_by_name["theme_light"].trigger()
    assert theme.palette() is theme.LIGHT


def test_another_language_rebuilds_the_window_and_keeps_what_was_set(ready: MainWindow, qtbot: QtBot) -> None:
    before = ready.setup.tables()
    ready.actions_by_name["language_zh_CN"].trigger()
    assert ready.context.settings.language == "zh_CN"
    assert ready.setup.tables() == before
    assert ready.actions_by_name["language_zh_CN"].isChecked()
    assert ready.rail["setup"].text() == "设置"
    assert ready.run_bar.start.accessibleName() == "开始"  # the key is for the menu: 开始(&S)
    assert QApplication.translate("QPlatformTheme", "Cancel") == "取消"  # in Qt's own dialogs
    assert len(ready.menuBar().actions()) == 5
    qtbot.waitUntil(lambda: ready.setup.start_problem() == "")
    ready.actions_by_name["language_en"].trigger()
    assert QApplication.translate("QPlatformTheme", "Cancel") == "Cancel"


def test_a_page_may_offer_the_configuration_of_a_run(ready: MainWindow, tmp_path: Path) -> None:
    expected = ready.setup.config()
    file = tmp_path / "config.toml"
    file.write_text(write_config(expected), encoding="utf-8")
    ready.setup.set_tables({})
    ready.go_to("runs")
    ready.context.configuration_requested.emit(file)
    assert ready.page == "setup"
    assert ready.setup.config() == expected


def test_the_configuration_of_a_run_is_loaded_once(
    ready: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(ready.setup, "set_tables", loaded.append)
    file = tmp_path / "config.toml"
    file.write_text(write_config(ready.setup.config()), encoding="utf-8")
    ready.context.configuration_requested.emit(file)
    assert len(loaded) == 1


def test_every_request_of_a_page_is_answered_by_one_slot_also_in_another_language(ready: MainWindow) -> None:
    signals = {
        "page_requested(QString)": 1,
        "configuration_requested(PyObject)": 1,
        "remedy_requested(QString)": 1,
        "message(QString)": 1,
    }

    def slots() -> dict[str, int]:
        return {signal: ready.context.receivers(SIGNAL(signal)) for signal in signals}

    assert slots() == signals
    ready.actions_by_name["language_zh_CN"].trigger()
    assert ready.context.settings.language == "zh_CN"
    assert slots() == signals
    ready.actions_by_name["language_en"].trigger()


def test_the_geometry_is_remembered(window: MainWindow) -> None:
    window.resize(1300, 820)
    window.close()
    assert not window.context.settings.geometry(window.context.settings.screen).isEmpty()


def test_only_the_visible_page_is_refreshed_and_only_when_the_run_has_changed(
    training: MainWindow, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.go_to("export")
    refreshed: list[str] = []
    for name in ("train", "export"):
        monkeypatch.setattr(training.pages[name], "refresh", lambda name=name: refreshed.append(name))
    feed(training, controller, [])
    assert refreshed == []
    feed(training, controller, [STARTED, step(1)])
    feed(training, controller, [])
    assert refreshed == ["export"]
    training.go_to("train")
    assert refreshed == ["export", "train"]


def test_the_application_font_is_not_too_small(qapp: QApplication) -> None:
    from studio.ui.theme import SMALLEST_POINTS, interface_font

    assert interface_font().pointSizeF() >= SMALLEST_POINTS


VERDICT = OverflowDiagnosed(
    step=5, verdict="forward_overflow", harmful=True, sentence="Activations overflow.", advice="Take fp32.",
    evidence={"precision": "fp16-mixed", "scaling": "dynamic", "rows": []}, remedies=["use_fp32"],
)  # fmt: skip


def test_a_remedy_goes_to_the_run_that_trains(training: MainWindow, controller: FakeController) -> None:
    feed(training, controller, [STARTED, step(1), VERDICT])
    training.context.apply_remedy("use_fp32")
    assert controller.remedies == ["use_fp32"]
    assert training.context.record is training.context.live


def test_a_remedy_for_a_run_that_has_ended_fills_the_setup_page(
    training: MainWindow, controller: FakeController
) -> None:
    feed(training, controller, [STARTED, step(1), VERDICT, RunFailed(step=5, sentence="It overflowed.")])
    controller.running = False
    training.context.tick()
    training.context.apply_remedy("use_fp32")
    assert training.page == "setup"
    assert training.setup.tables()["precision"]["name"] == "fp32"
    assert controller.remedies == []


def test_a_remedy_that_acts_on_the_run_itself_opens_no_settings_once_that_has_ended(
    training: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    feed(training, controller, [STARTED, step(1), VERDICT, RunFailed(step=5, sentence="It overflowed.")])
    page = training.page
    with qtbot.waitSignal(training.context.message) as message:
        training.context.apply_remedy("restore_checkpoint")
    assert message.args[0].startswith("“Back to the last good checkpoint” needs a run that is under way")
    assert training.page == page
    assert controller.remedies == []


@pytest.mark.parametrize(
    ("resumed", "words"),
    [
        (RunResumed(step=5, refused="There is no good checkpoint."), "There is no good checkpoint."),
        (
            RunResumed(step=5, refused="left_out_already"),
            "These rows have been left out already; the run goes on as it is.",
        ),
        (RunResumed(step=5, changes={"back to update": 3}), "The run went back to update 3, and goes on."),
    ],
)
def test_what_came_of_a_remedy_is_said(
    training: MainWindow, controller: FakeController, qtbot: QtBot, resumed: RunResumed, words: str
) -> None:
    feed(training, controller, [STARTED, step(1), VERDICT])
    with qtbot.waitSignal(training.context.message) as message:
        feed(training, controller, [resumed])
    assert message.args == [words]


def test_a_remedy_of_an_ended_run_goes_on_from_what_was_changed_while_it_ran(
    training: MainWindow, controller: FakeController
) -> None:
    lowered = RunResumed(step=3, changes={"training.learning_rate": 3e-4})
    feed(training, controller, [STARTED, step(1), lowered, VERDICT, RunFailed(step=5, sentence="It overflowed.")])
    controller.running = False
    training.context.apply_remedy("lower_learning_rate")
    assert training.setup.tables()["training"]["learning_rate"] == pytest.approx(3e-5)


def press_start(window: MainWindow, qtbot: QtBot) -> None:
    window.activateWindow()
    qtbot.keyClick(window.focusWidget() or window, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


@pytest.fixture
def may_read(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is set, as it is at first, data is read at once; while it is clear, reading waits."""
    allowed = threading.Event()
    allowed.set()

    def wait_then_read(*arguments: Any) -> object:
        assert allowed.wait(10)
        return engine.open_data(*arguments)

    monkeypatch.setattr(actions, "open_data", wait_then_read)
    yield allowed
    allowed.set()


def test_ctrl_return_while_the_data_is_read_again_starts_as_soon_as_it_is_read(
    may_read: threading.Event, ready: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    may_read.clear()
    ready.setup.data.form.rows["max_length"].editor.set_value(99)
    assert ready.setup.pending
    qtbot.waitUntil(lambda: not ready.actions_by_name["start"].isEnabled())
    press_start(ready, qtbot)
    assert controller.started == []
    assert ready.run_bar.reason.text() == "The run starts as soon as everything has been read."
    may_read.set()
    qtbot.waitUntil(lambda: bool(controller.started))
    assert controller.started[0].data.max_length == 99
    assert ready.page == "train"
    controller.running = False
    ready.context.tick()
    assert len(controller.started) == 1


def test_what_was_to_start_and_turns_out_unusable_says_why(
    ready: MainWindow, controller: FakeController, tmp_path: Path, qtbot: QtBot
) -> None:
    ready.setup.data.add({"path": str(tmp_path / "broken.jsonl")})
    qtbot.waitUntil(lambda: not ready.actions_by_name["start"].isEnabled())
    press_start(ready, qtbot)
    qtbot.waitUntil(lambda: "broken.jsonl cannot be used yet" in ready.banner.text)
    assert controller.started == []


def test_ctrl_return_says_what_is_missing(window: MainWindow, qtbot: QtBot) -> None:
    press_start(window, qtbot)
    assert window.banner.text == "Choose a model first."
