"""Runs are continued, found again, paused and saved by real clicks in the whole window."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from studio.config import write_config
from studio.errors import RunFolderError
from studio.events import CheckpointFailed, CheckpointSaved, RunFailed, RunPaused, RunResumed
from studio.runner.state import RunInterrupted
from studio.runs import Journal, RunFolder, create_run, holder_of
from studio.ui.bridge import AppContext
from studio.ui.dialogs.queue import QueueDialog
from studio.ui.main_window import MainWindow
from studio.ui.pages.setup.run_editor import RunEditor
from tests.screenshots.scripted import scripted_events, scripted_runs
from tests.ui.fakes import FakeController, answered
from tests.ui.test_main_window import STARTED, feed, step

LEFT = Qt.MouseButton.LeftButton


def left_run(root: Path, name: str = "left", steps: int = 20) -> RunFolder:
    """A run whose process is gone, with a checkpoint."""
    folder = create_run(root, name, "")
    (folder.path / "lock").unlink()
    folder.write_state("running", created=1.0, model={"name": "SmolLM2"}, method="lora")
    with Journal(folder.journal) as journal:
        for event in scripted_events(steps=steps):
            journal.append(event)
    checkpoint = folder.checkpoint(10)
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text("{}")
    return folder


def held_by(folder: RunFolder, process: int) -> None:
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(holder_of(process))))


@pytest.fixture
def training(ready: MainWindow) -> MainWindow:
    ready.start()
    return ready


def test_a_run_that_was_cut_off_is_offered_when_the_window_opens_and_continues(
    window: MainWindow, context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    folder = left_run(context.runs_root)
    assert not window.cut_off.isVisible()
    with qtbot.waitSignal(window.continuing.found_cut_off):
        window.continuing.look()
    assert window.cut_off.isVisible()
    assert "SmolLM2 · LoRA" in window.cut_off.title.text
    assert "come to update 13. The newest checkpoint is of update 3" in window.cut_off.words.text()
    qtbot.mouseClick(window.cut_off.go_on, LEFT)
    qtbot.waitUntil(lambda: bool(controller.resumed))
    assert controller.resumed == [(folder, [])]
    assert window.page == "train"
    assert not window.cut_off.isVisible()
    assert context.live is not None
    assert len(context.live.series["loss"]) == 20  # what was before stands in the plots


def test_a_dismissed_run_is_not_offered_again(window: MainWindow, context: AppContext, qtbot: QtBot) -> None:
    left_run(context.runs_root)
    with qtbot.waitSignal(window.continuing.found_cut_off):
        window.continuing.look()
    qtbot.mouseClick(window.cut_off.dismiss, LEFT)
    assert not window.cut_off.isVisible()
    with qtbot.assertNotEmitted(window.continuing.found_cut_off):
        window.continuing.look()
        qtbot.waitUntil(lambda: answered(window))


def test_a_run_that_was_cut_off_can_be_looked_at_first(window: MainWindow, context: AppContext, qtbot: QtBot) -> None:
    folder = left_run(context.runs_root)
    window.go_to("runs")
    with qtbot.waitSignal(window.continuing.found_cut_off):
        window.continuing.look()
    with qtbot.waitSignal(context.record_changed):
        qtbot.mouseClick(window.cut_off.show_run, LEFT)
    assert context.record is not None
    assert context.record.folder == folder
    qtbot.waitUntil(lambda: window.page == "train")
    train = window.pages["train"]
    assert train.banner.go_on.isVisible()
    assert train.banner.verdict.text.startswith("The run was cut off")


def test_a_run_in_its_own_process_is_found_again_and_survives_closing(
    window: MainWindow, context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    folder = left_run(context.runs_root)
    held_by(folder, os.getppid())
    window.continuing.look()
    qtbot.waitUntil(lambda: controller.attached == [folder])
    assert window.page == "train"
    assert context.live is not None
    assert context.live.folder == folder
    assert window.close() or window.closing.question is None
    qtbot.waitUntil(lambda: not window.isVisible())
    context.cancel_all()  # as the program does at its end
    assert controller.detached == 1
    assert controller.stops == []


def test_a_run_of_another_computer_is_watched_as_it_grows_and_left_alone(
    window: MainWindow, context: AppContext, qtbot: QtBot
) -> None:
    folder = left_run(context.runs_root)
    lock = folder.path / "lock"
    lock.write_text(json.dumps({"process": 1, "started": "1", "host": "another computer"}))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    window.go_to("train")
    context.open_run(folder)
    record = context.record
    assert record is not None
    qtbot.waitUntil(lambda: len(record.series["loss"]) == 20)
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with Journal(folder.journal) as journal:
        journal.append(step(21))
        qtbot.waitUntil(lambda: len(record.series["loss"]) == 21)
        assert not context.shows_training
        assert not window.actions_by_name["continue"].isEnabled()
        journal.append(RunFailed(step=21, sentence="The node was taken away."))
    qtbot.waitUntil(lambda: window.pages["train"].banner.isVisible())
    assert window.pages["train"].banner.verdict.text == "The node was taken away."
    lock.unlink()
    qtbot.waitUntil(lambda: not context.busy and context.join(0))
    assert lock.parent.is_dir()


def test_a_run_that_is_only_watched_is_let_go_with_the_window(
    window: MainWindow, context: AppContext, qtbot: QtBot
) -> None:
    folder = left_run(context.runs_root)
    held_by(folder, os.getppid())
    context.open_run(folder)
    assert window.close()
    context.cancel_all()
    assert context.join(5)
    assert folder.held


def test_a_run_that_cannot_be_reached_is_said(
    training: MainWindow, controller: FakeController, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    def refuse() -> None:
        raise RunFolderError("The run folder cannot be written.")

    feed(training, controller, [STARTED, step(1)])
    monkeypatch.setattr(controller, "checkpoint_now", refuse)
    qtbot.mouseClick(training.pages["train"].checkpoint.save, LEFT)
    assert training.banner.text == "The run folder cannot be written."
    assert training.pages["train"].checkpoint.save.isEnabled()


def test_a_run_in_the_window_still_asks_before_closing(training: MainWindow, controller: FakeController) -> None:
    assert not training.close()
    question = training.closing.question
    assert isinstance(question, QMessageBox)
    question.close()
    assert not controller.detached


def test_pause_answers_at_once_says_when_the_gpu_is_free_and_resume_looks_like_resume(
    training: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    bar = training.run_bar
    feed(training, controller, [STARTED, step(1)])
    assert bar.pause.property("kind") == "plain"
    qtbot.mouseClick(bar.pause, LEFT)
    assert bar.status.text() == "Pausing …"
    assert bar.pause.accessibleName() == "Resume"
    assert bar.pause.property("kind") == "primary"
    controller.pausing, controller.paused = False, True
    feed(training, controller, [RunPaused(step=1, released=2**30)])
    assert bar.status.text() == "Paused, the GPU is free"
    controller.resuming = True
    feed(training, controller, [])
    assert bar.status.text() == "Resuming …"
    controller.paused = controller.resuming = False
    feed(training, controller, [RunResumed(step=1)])
    assert bar.status.text() == "Training"
    assert bar.pause.accessibleName() == "Pause"


def test_a_pause_that_cannot_end_says_what_is_missing(training: MainWindow, controller: FakeController) -> None:
    controller.paused = True
    feed(training, controller, [STARTED, step(1), RunPaused(step=1, released=2**30, missing=2**30)])
    assert training.run_bar.words.whole_text == (
        "The GPU has 1 GB too little to go on: end what uses it, then press Resume."
    )


@pytest.mark.parametrize("by", ["button", "action"])
def test_a_checkpoint_is_saved_on_request_and_acknowledged(
    training: MainWindow, controller: FakeController, qtbot: QtBot, by: str
) -> None:
    feed(training, controller, [STARTED, step(1)])
    line = training.pages["train"].checkpoint
    assert line.words.whole_text == "No checkpoint yet"
    if by == "button":
        qtbot.mouseClick(line.save, LEFT)
    else:
        training.actions_by_name["checkpoint"].trigger()
    assert controller.checkpoints == 1
    assert line.words.whole_text == "Saving a checkpoint …"
    assert not line.save.isEnabled()
    assert not training.actions_by_name["checkpoint"].isEnabled()
    feed(training, controller, [step(2), CheckpointSaved(step=2, update=2, path="/x")])
    assert line.words.whole_text.startswith("Checkpoint of update 2, ")
    assert line.save.isEnabled()


def test_a_checkpoint_that_cannot_be_saved_is_told(training: MainWindow, controller: FakeController) -> None:
    feed(training, controller, [STARTED, step(1), CheckpointFailed(step=1, update=1, reason="No space left")])
    assert "No space left" in training.banner.text
    assert "No space left" in training.pages["train"].checkpoint.words.whole_text


def test_a_crashed_child_leaves_the_cause_and_the_way_on(
    training: MainWindow, controller: FakeController, qtbot: QtBot
) -> None:
    feed(training, controller, [STARTED, step(1), CheckpointSaved(step=1, update=1, path="/x")])
    controller.running = False
    feed(training, controller, [RunInterrupted(cause="out_of_memory", code=-9)])
    banner = training.pages["train"].banner
    assert "ran out of memory" in banner.verdict.text
    assert "The newest checkpoint is of update 1" in banner.verdict.text
    assert training.run_bar.status.text() == "Interrupted"
    qtbot.mouseClick(banner.go_on, LEFT)
    qtbot.waitUntil(lambda: bool(controller.resumed))
    assert controller.resumed == [(controller.folder, [])]


def test_a_failed_run_is_continued_by_its_key(training: MainWindow, controller: FakeController, qtbot: QtBot) -> None:
    assert not training.actions_by_name["continue"].isEnabled()
    feed(training, controller, [STARTED, step(1)])
    controller.running = False
    feed(training, controller, [RunFailed(step=1, sentence="The disk is full.")])
    assert training.actions_by_name["continue"].isEnabled()
    training.actions_by_name["continue"].trigger()
    qtbot.waitUntil(lambda: bool(controller.resumed))
    assert training.run_bar.status.text() == "Starting"  # and no longer Failed


def test_changed_files_are_gone_on_with_on_purpose(
    training: MainWindow, context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    feed(training, controller, [STARTED, step(1)])
    controller.running = False
    assert context.record is not None
    context.continue_run(context.record, ["training.epochs=2"])
    banner = training.pages["train"].banner
    controller.running = False
    feed(training, controller, [RunFailed(step=1, sentence="The rows have changed.", needs_consent=True)])
    assert banner.verdict.text == "The rows have changed."
    assert banner.consent.isVisible()
    qtbot.mouseClick(banner.consent, LEFT)
    assert controller.resumed == [(controller.folder, ["training.epochs=2"])] * 2
    assert controller.consents == [False, True]
    assert not banner.consent.isVisible()


def test_what_a_failed_run_has_saved_can_be_exported(
    training: MainWindow, context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    left = left_run(context.runs_root)
    empty = left_run(context.runs_root, "empty")
    (empty.checkpoint(10) / "manifest.json").unlink()
    banner = training.pages["train"].banner
    controller.running = False
    feed(training, controller, [STARTED, step(1), RunFailed(step=1, sentence="A file is gone.")])
    assert not banner.export.isVisible()
    saved = CheckpointSaved(step=1, update=1, path="/x")
    feed(training, controller, [saved, RunFailed(step=1, sentence="A file is gone.")])
    assert banner.export.isVisible()
    qtbot.mouseClick(banner.export, LEFT)
    form = training.pages["export"].form
    qtbot.waitUntil(lambda: form.folder is not None)
    assert form.run.count() == 1
    assert form.folder == left


def test_the_place_of_a_run_is_chosen_on_the_setup_page_and_remembered(
    ready: MainWindow, controller: FakeController, context: AppContext, qtbot: QtBot
) -> None:
    choice = ready.setup.training.place.rows["where"].editor.main
    qtbot.mouseClick(choice.button("process"), LEFT)  # type: ignore[attr-defined]
    ready.start()
    assert controller.where == "process"
    assert context.settings.where == "process"


def test_all_gpus_are_offered_where_there_are_several(
    ready: MainWindow, controller: FakeController, context: AppContext, qtbot: QtBot
) -> None:
    card = ready.setup.training
    choice = card.place.rows["where"].editor.main
    assert not choice.button("gpus").isVisibleTo(choice)  # type: ignore[attr-defined]
    card.show_gpus(4)
    assert choice.button("gpus").text() == "All 4 GPUs"  # type: ignore[attr-defined]
    qtbot.mouseClick(choice.button("gpus"), LEFT)  # type: ignore[attr-defined]
    assert context.settings.where == "gpus"
    ready.start()
    assert controller.where == "gpus"


def test_all_gpus_are_no_longer_chosen_where_one_is_left(ready: MainWindow, context: AppContext) -> None:
    card = ready.setup.training
    card.show_gpus(2)
    card.place.rows["where"].editor.main.set_value("gpus")  # type: ignore[attr-defined]
    card.show_gpus(1)
    assert context.settings.where == "process"


def test_a_run_that_starts_from_another_is_set_up_with_its_settings(
    ready: MainWindow, context: AppContext, tmp_path: Path
) -> None:
    folder = create_run(tmp_path / "runs", "first", write_config(ready.setup.config()))
    ready.setup.set_tables({})
    ready.go_to("runs")
    context.start_from_requested.emit(folder)
    assert ready.page == "setup"
    config = ready.setup.config()
    assert config.training.start_from == str(folder.path)
    assert config.model.path == str(tmp_path / "model")


@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its menus
def test_the_run_to_start_from_is_chosen_in_a_menu(ready: MainWindow, context: AppContext, qtbot: QtBot) -> None:
    folder = scripted_runs(context.runs_root)[0]
    editor = ready.setup.training.form.rows["start_from"].editor
    assert isinstance(editor, RunEditor)
    ready.setup.training.form.more.open()
    qtbot.mouseClick(editor.choose, LEFT)
    qtbot.waitUntil(lambda: editor.findChild(QMenu) is not None)
    menu = editor.findChild(QMenu)
    assert isinstance(menu, QMenu)
    assert len(menu.actions()) == 5
    menu.actions()[0].trigger()
    menu.close()
    assert ready.setup.config().training.start_from == str(folder.path)


def test_configurations_wait_in_the_queue_and_are_trained_one_after_another(
    ready: MainWindow, controller: FakeController, context: AppContext, qtbot: QtBot
) -> None:
    ready.start()
    ready.go_to("setup")
    for _ in range(3):
        qtbot.mouseClick(ready.setup.enqueue, LEFT)
        _dialog(ready).accept()
        qtbot.waitUntil(lambda: ready.findChild(QueueDialog) is None)
    assert ready.run_bar.queue.text().strip() == "Queue: 3"
    qtbot.mouseClick(ready.run_bar.queue, LEFT)
    dialog = _dialog(ready)
    assert [dialog.model.index(row, 0).data() for row in range(3)] == ["Next", "2", "3"]
    qtbot.mouseClick(dialog.down, LEFT)
    assert [run.key for run in context.queue.runs] == ["k2", "k1", "k3"]
    assert dialog.model.runs[dialog.table.currentIndex().row()].key == "k1"  # it is still the one that moves
    qtbot.mouseClick(dialog.remove, LEFT)
    assert [run.key for run in context.queue.runs] == ["k2", "k3"]
    context.queue.refused = {"run 2": "There is no such model."}  # type: ignore[attr-defined]
    assert "held" in dialog.state.text
    qtbot.mouseClick(dialog.turn, LEFT)
    assert len(controller.started) == 1  # the present run is left alone
    failed = controller.folder
    controller.running = False
    feed(ready, controller, [RunFailed(step=1, sentence="No.")])
    assert len(controller.started) == 2
    assert "run 2 in the queue could not start and was passed over: There is no such model." in ready.banner.text
    assert f"{failed.name} failed, and the queue goes on with run 3. No." in ready.banner.text
    assert dialog.model.index(0, 0).data() == "Passed over"
    assert context.live is not None
    assert context.live.folder == controller.folder
    assert context.live.state.status == "created"


def _dialog(window: MainWindow) -> QueueDialog:
    found = window.findChild(QueueDialog)
    assert isinstance(found, QueueDialog)
    return found
