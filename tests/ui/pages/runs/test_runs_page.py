"""Past runs are listed, sorted, filtered, opened, used again and deleted."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from studio.config import read_config
from studio.engine.control import Progress
from studio.events import StepCompleted
from studio.runner.record import RunRecord
from studio.runs import Journal, RunFolder, RunLabel, holder_of, read_label
from studio.ui.bridge import AppContext
from studio.ui.dialogs.run_label import LabelDialog
from studio.ui.dialogs.train_on import TrainOn
from studio.ui.models.run_summary import read_summaries
from studio.ui.models.runs import COLUMNS, LOSSES_ROLE, RunsModel
from studio.ui.pages.runs import delete as runs_delete
from studio.ui.pages.runs.page import RunsPage
from studio.ui.widgets.text import ElidedLabel
from tests.screenshots.scripted import CONFIG, scripted_events, scripted_runs
from tests.ui.fakes import FakeController, answered


@pytest.fixture
def folders(context: AppContext) -> list[RunFolder]:
    return scripted_runs(context.runs_root)


@pytest.fixture
def page(context: AppContext, qtbot: QtBot, folders: list[RunFolder]) -> RunsPage:
    page = RunsPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    qtbot.waitUntil(lambda: page.rows.rowCount() == len(folders))
    return page


def _column(page: RunsPage, title: str) -> list[str]:
    column = [column.title for column in COLUMNS].index(title)
    return [str(page.rows.index(row, column).data()) for row in range(page.rows.rowCount())]


def _choose(page: RunsPage, folder: RunFolder) -> None:
    page._select(folder)


def test_the_newest_run_comes_first_and_is_selected(page: RunsPage, folders: list[RunFolder]) -> None:
    assert _column(page, "Updates") == ["204", "300", "58", "12", "0"]
    selected = page.selected()
    assert selected is not None
    assert selected.folder == folders[0]


def test_a_row_says_what_the_run_was_and_how_it_went(page: RunsPage) -> None:
    first = [str(page.rows.index(0, column).data()) for column in range(2, len(COLUMNS) - 2)]
    assert first == [
        "SmolLM2-135M-Instruct", "LoRA", "fp16-mixed", "Finished", "204", "2.610 → 1.440", "95.1 %", "3 min 51 s",
    ]  # fmt: skip


def test_columns_sort_by_value_not_by_spelling(page: RunsPage) -> None:
    page.table.sortByColumn([column.title for column in COLUMNS].index("Updates"), Qt.SortOrder.AscendingOrder)
    assert _column(page, "Updates") == ["0", "12", "58", "204", "300"]
    page.table.sortByColumn([column.title for column in COLUMNS].index("Duration"), Qt.SortOrder.DescendingOrder)
    assert _column(page, "Duration") == ["10 min 11 s", "5 min 42 s", "3 min 51 s", "44 s", "–"]


def test_the_filter_looks_into_every_column(page: RunsPage) -> None:
    page.search.setText("qwen")
    assert _column(page, "Model") == ["Qwen2.5-0.5B"]
    page.search.setText("bf16")
    assert _column(page, "Precision") == ["bf16-mixed"]
    page.search.setText("")
    assert page.rows.rowCount() == 5


def test_a_filter_that_matches_no_run_says_so_and_can_be_cleared(page: RunsPage, qtbot: QtBot) -> None:
    page.search.setText("no such run")
    assert page.unmatched.isVisible()
    assert not page.table.isVisible()
    assert not page.open.isEnabled()
    page.reload()
    qtbot.waitUntil(lambda: answered(page))
    assert page.unmatched.isVisible()
    qtbot.mouseClick(page.show_all, Qt.MouseButton.LeftButton)
    assert page.search.text() == ""
    assert page.rows.rowCount() == 5
    assert page.table.isVisible()


def test_the_exact_configuration_is_shown(page: RunsPage) -> None:
    assert page.detail.text.toPlainText() == CONFIG
    assert page.detail.text.isReadOnly()


def test_a_failed_run_shows_its_sentence(page: RunsPage, folders: list[RunFolder]) -> None:
    _choose(page, folders[3])
    assert page.detail.verdict[0].startswith("A trained weight is not")


def test_opening_a_run_reads_its_journal_and_shows_its_plots(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    with Journal(folders[0].journal) as journal:
        for event in scripted_events(steps=20):
            journal.append(event)
    with qtbot.waitSignal(context.page_requested) as request:
        qtbot.mouseClick(page.open, Qt.MouseButton.LeftButton)
    assert request.args == ["train"]
    assert context.record is not None
    assert context.record.folder == folders[0]
    assert len(context.record.series["loss"]) == sum(isinstance(e, StepCompleted) for e in scripted_events(steps=20))


def test_opening_a_long_run_shows_how_far_it_is_and_can_be_cancelled(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_on = threading.Event()

    def of_folder(_: RunFolder, progress: Progress) -> RunRecord:
        progress("reading_run", 1, 4)
        read_on.wait(5)
        progress("reading_run", 2, 4)
        raise AssertionError

    monkeypatch.setattr(RunRecord, "of_folder", of_folder)
    qtbot.mouseClick(page.open, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(page.progress.isVisible)
    assert page.progress.findChild(ElidedLabel).whole_text == "Reading the run · 25 %"
    qtbot.mouseClick(page.progress.cancel, Qt.MouseButton.LeftButton)
    read_on.set()
    qtbot.waitUntil(page.progress.isHidden)
    assert context.record is None
    assert page.open.isEnabled()


def test_a_long_journal_is_told_of_while_it_is_read(folders: list[RunFolder]) -> None:
    with Journal(folders[0].journal) as journal:
        for event in [scripted_events(steps=2)[-1]] * 3000:
            journal.append(event)
    told: list[tuple[str, int, int]] = []
    RunRecord.of_folder(folders[0], lambda *report: told.append(report))
    assert len(told) >= 3
    assert {stage for stage, _, _ in told} == {"reading_run"}
    assert all(0 < done <= total for _, done, total in told)


def test_the_name_is_that_of_the_folder_without_the_time(page: RunsPage, folders: list[RunFolder]) -> None:
    name = [column.title for column in COLUMNS].index("Name")
    assert page.rows.index(0, name).data() == folders[0].name.split("-", 2)[2]
    assert page.rows.index(0, name).data(Qt.ItemDataRole.ToolTipRole) == folders[0].name


def test_the_tip_of_a_run_on_another_computer_says_where_and_when_it_was_heard_of_last(
    folders: list[RunFolder],
) -> None:
    elsewhere = dataclasses.asdict(dataclasses.replace(holder_of(os.getpid()), host="node7"))
    (folders[0].path / "lock").write_text(json.dumps(elsewhere))
    folders[0].write_state("running")
    folders[0].journal.touch()
    for file in (folders[0].journal, folders[0].state):
        os.utime(file, (then := time.time() - 7500, then))
    rows = RunsModel()
    rows.set_runs(read_summaries(folders[0].path.parent))
    index = rows.index(0, [column.title for column in COLUMNS].index("Status"))
    assert index.data() == "On another computer"
    tip = index.data(Qt.ItemDataRole.ToolTipRole)
    assert re.fullmatch("On another computer: on node7, last written 2 h [5-9] min ago", tip)


@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its menus
def test_the_menu_of_a_row_offers_what_the_buttons_do(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    place = page.table.visualRect(page.rows.index(1, 0)).center()
    page.table.customContextMenuRequested.emit(place)
    chosen = page.selected()
    assert chosen is not None
    assert chosen.folder == folders[1]
    (menu,) = page.table.findChildren(QMenu)
    actions = {action.text(): action for action in menu.actions() if action.text()}
    assert list(actions) == [
        "Open", "Compare…", "Train on …", "Start from this run", "Use again", "Name and notes…", "Star",
        "Open folder", "Copy path", "Export for TensorBoard", "Delete…",
    ]  # fmt: skip
    actions["Copy path"].trigger()
    assert QApplication.clipboard().text() == str(folders[1].path)
    with qtbot.waitSignal(context.configuration_requested) as request:
        actions["Use again"].trigger()
    assert request.args == [folders[1].config]
    menu.close()


def test_the_run_that_this_window_trains_in_another_process_does_not_run_elsewhere(
    page: RunsPage, context: AppContext, controller: FakeController, folders: list[RunFolder]
) -> None:
    controller.running, controller.folder = True, folders[0]
    context.live = RunRecord(folders[0])
    context.live._set(status="paused")
    shown = read_summaries(context.runs_root)
    page._show_runs([dataclasses.replace(run, where="process") for run in shown])
    assert _column(page, "Status")[:2] == ["Paused", "Running elsewhere"]


def test_enter_opens_the_selected_run(page: RunsPage, context: AppContext, qtbot: QtBot) -> None:
    page.table.setFocus()
    with qtbot.waitSignal(context.page_requested):
        qtbot.keyClick(page.table, Qt.Key.Key_Return)


def test_the_live_run_is_opened_without_reading_it_again(
    page: RunsPage, context: AppContext, folders: list[RunFolder]
) -> None:
    context.live = RunRecord(folders[0])
    page.open_selected()
    assert context.record is context.live


def test_a_configuration_can_be_used_again(page: RunsPage, context: AppContext, qtbot: QtBot) -> None:
    selected = page.selected()
    assert selected is not None
    with qtbot.waitSignal(context.configuration_requested) as request:
        qtbot.mouseClick(page.detail.reuse, Qt.MouseButton.LeftButton)
    assert request.args == [selected.folder.config]


def test_deleting_asks_and_moves_the_folder_to_the_trash(
    page: RunsPage,
    context: AppContext,
    qtbot: QtBot,
    folders: list[RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(runs_delete, "ask_trash", lambda *_: False)
    page.delete_selected()
    assert folders[0].path.exists()
    monkeypatch.setattr(runs_delete, "ask_trash", lambda *_: True)
    monkeypatch.setattr(runs_delete, "trash", lambda folder: bool(folder.path.rename(tmp_path / "trash")))
    context.record = RunRecord(folders[0])
    page.delete_selected()
    qtbot.waitUntil(lambda: page.rows.rowCount() == 4)
    assert not folders[0].path.exists()
    assert context.record is None


def test_without_a_trash_a_run_is_deleted_for_good_only_when_asked_again(
    page: RunsPage, qtbot: QtBot, folders: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(runs_delete, "ask_trash", lambda *_: True)
    monkeypatch.setattr(runs_delete, "trash", lambda _: False)
    asked: list[str] = []
    monkeypatch.setattr(runs_delete, "ask_for_good", lambda _, name: asked.append(name) or next(answers))
    page.delete_selected()
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert folders[0].path.exists()
    page.delete_selected()
    qtbot.waitUntil(lambda: not folders[0].path.exists())
    qtbot.waitUntil(lambda: page.rows.rowCount() == 4)


def test_a_run_that_trains_cannot_be_deleted(
    page: RunsPage, context: AppContext, controller: FakeController, folders: list[RunFolder]
) -> None:
    controller.running, controller.folder = True, folders[1]
    _choose(page, folders[1])
    assert not page.delete.isEnabled()
    assert "training" in page.delete.toolTip()
    controller.running = False
    _choose(page, folders[0])
    assert page.delete.isEnabled()


def test_a_reload_keeps_the_selection(page: RunsPage, qtbot: QtBot, folders: list[RunFolder]) -> None:
    _choose(page, folders[2])
    with qtbot.waitSignal(page.model.modelReset):
        page.reload()
    selected = page.selected()
    assert selected is not None
    assert selected.folder == folders[2]


def test_without_runs_the_page_leads_to_setup(context: AppContext, qtbot: QtBot) -> None:
    page = RunsPage(context)
    qtbot.addWidget(page)
    page.show()
    with qtbot.waitSignal(page.model.modelReset):
        page.reload()
    with qtbot.waitSignal(context.page_requested):
        qtbot.mouseClick(page.empty.set_up, Qt.MouseButton.LeftButton)


def test_a_damaged_run_is_listed_as_damaged(tmp_path: Path) -> None:
    folder = scripted_runs(tmp_path)[0]
    folder.state.write_text("{", encoding="utf-8")
    found = {run.folder.name: run for run in read_summaries(tmp_path)}
    assert found[folder.name].status == "damaged"
    assert "is damaged" in found[folder.name].problem


def test_an_odd_state_lists_without_its_odd_parts(tmp_path: Path) -> None:
    folder = scripted_runs(tmp_path)[0]
    folder.write_state("finished", model="x", validation_loss=None, seconds="long", updates=None)
    run = next(run for run in read_summaries(tmp_path) if run.folder == folder)
    assert (run.model, run.first_loss, run.seconds, run.updates) == ("", None, None, None)


def _hold(folder: RunFolder, process: int) -> None:
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(holder_of(process))))


def test_an_interrupted_run_is_called_so_and_continues(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    assert _column(page, "Status")[4] == "Interrupted"
    _choose(page, folders[4])
    with qtbot.waitSignal(context.continue_requested) as request:
        qtbot.mouseClick(page.go_on, Qt.MouseButton.LeftButton)
    assert request.args == [folders[4], 0.0]


def test_a_finished_run_is_trained_on_for_as_long_as_is_asked_for(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    assert page.go_on.accessibleName() == "Train on …"
    qtbot.mouseClick(page.go_on, Qt.MouseButton.LeftButton)
    dialog = page.findChild(TrainOn)
    assert isinstance(dialog, TrainOn)
    line = dialog.form.rows["epochs"].editor.main
    line.selectAll()  # type: ignore[attr-defined]
    qtbot.keyClicks(line, "0")
    assert not dialog.go_on.isEnabled()
    line.selectAll()  # type: ignore[attr-defined]
    qtbot.keyClicks(line, "3")
    with qtbot.waitSignal(context.continue_requested) as request:
        qtbot.mouseClick(dialog.go_on, Qt.MouseButton.LeftButton)
    assert request.args == [folders[0], 3.0]


def test_a_run_of_another_process_is_neither_deleted_nor_started_twice_and_is_opened_live(
    page: RunsPage, context: AppContext, controller: FakeController, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    folders[1].write_state("running")
    _hold(folders[1], os.getppid())
    with qtbot.waitSignal(page.model.modelReset):
        page.reload()
    assert _column(page, "Status")[1] == "Running elsewhere"
    _choose(page, folders[1])
    assert not page.delete.isEnabled()
    assert not page.go_on.isEnabled()
    assert "Another process" in page.go_on.toolTip()
    qtbot.mouseClick(page.open, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controller.attached == [folders[1]])


def test_a_run_that_another_process_has_taken_meanwhile_is_not_deleted(
    page: RunsPage, folders: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_delete, "ask_trash", lambda *_: pytest.fail("asked"))
    _choose(page, folders[2])
    assert page.delete.isEnabled()
    _hold(folders[2], os.getppid())  # after the list was read
    page.delete_selected()
    assert folders[2].path.exists()


def test_a_new_run_can_start_from_one_that_has_ended(
    page: RunsPage, context: AppContext, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    with qtbot.waitSignal(context.start_from_requested) as request:
        qtbot.mouseClick(page.detail.start_from, Qt.MouseButton.LeftButton)
    assert request.args == [folders[0]]


def test_a_run_gets_a_name_tags_notes_and_a_star_and_is_found_by_them(
    page: RunsPage, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    _choose(page, folders[1])
    qtbot.mouseClick(page.detail.describe, Qt.MouseButton.LeftButton)
    dialog = page.findChild(LabelDialog)
    assert dialog is not None
    dialog.name.setText("Second try")
    dialog.tags.setText("baseline, rank 16, baseline")
    dialog.notes.setPlainText("Warm-up was too short.")
    dialog._take()
    qtbot.mouseClick(page.detail.star, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: read_label(folders[1].path).star)
    wanted = RunLabel(name="Second try", notes="Warm-up was too short.", tags=("baseline", "rank 16"), star=True)
    qtbot.waitUntil(lambda: any(run.label == wanted for run in page.model._runs))
    page.search.setText("WARM-UP try")
    assert _column(page, "Name") == ["★ Second try #baseline #rank 16"]


def test_a_damaged_label_hides_no_run(folders: list[RunFolder], context: AppContext) -> None:
    (folders[0].path / "label.json").write_text('{"tags": 3}')
    assert read_summaries(context.runs_root)[0].label == RunLabel()


def test_the_size_and_the_course_of_the_loss_are_shown_once_they_are_known(
    page: RunsPage, qtbot: QtBot, folders: list[RunFolder]
) -> None:
    with Journal(folders[0].journal) as journal:
        for event in scripted_events():
            journal.append(event)
    losses = {event.loss for event in scripted_events() if isinstance(event, StepCompleted)}
    page.reload()
    curve = [column.title for column in COLUMNS].index("Loss")
    qtbot.waitUntil(lambda: len(page.rows.index(0, curve).data(LOSSES_ROLE) or ()) > 20)
    assert set(page.rows.index(0, curve).data(LOSSES_ROLE)) <= losses
    assert _column(page, "Size")[0].endswith("KB")


@pytest.mark.parametrize("width", [900, 1190, 1800])
def test_the_table_never_scrolls_sideways_and_leaves_the_least_telling_columns_out(
    page: RunsPage, qtbot: QtBot, width: int
) -> None:
    page.resize(width, 714)
    qtbot.waitUntil(lambda: page.table.width() > width - 100)
    assert page.table.horizontalHeader().length() <= page.table.viewport().width()
    assert not page.table.isColumnHidden([column.title for column in COLUMNS].index("Status"))
    hidden = [column.title for index, column in enumerate(COLUMNS) if page.table.isColumnHidden(index)]
    assert bool(hidden) == (width < 1800)


def test_no_title_is_cut_once_there_is_room_for_a_column_that_was_left_out(page: RunsPage, qtbot: QtBot) -> None:
    page.resize(900, 714)
    qtbot.waitUntil(lambda: page.table.isColumnHidden([column.title for column in COLUMNS].index("Retention")))
    with qtbot.waitSignal(page.model.modelReset):
        page.reload()
    page.resize(1800, 714)
    qtbot.waitUntil(lambda: page.table.width() > 1700)
    header = page.table.horizontalHeader()
    assert all(header.sectionSize(i) >= header.sectionSizeHint(i) > 0 for i in range(len(COLUMNS)))


def test_what_waits_in_the_queue_is_told(page: RunsPage, context: AppContext) -> None:
    assert page._waiting.isHidden()
    context.enqueue(read_config(page.model._runs[0].folder.config))
    assert page.waiting.text() == "1 run waits in the queue."
