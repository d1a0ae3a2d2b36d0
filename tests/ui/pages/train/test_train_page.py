"""The Train page shows what a record says, from before the first step to the end."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.errors import DataError
from studio.events import (
    EvaluationCompleted,
    MemoryMeasured,
    MicroBatchShrunk,
    ProgressReported,
    PromptsAnswered,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
)
from studio.runner import actions
from studio.runner.record import LOG_LINES, RunRecord
from studio.runner.state import LogLine
from studio.runs import create_run
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.pages.train.page import TrainPage
from studio.ui.plots.lane.events import SKIPPED
from studio.ui.plots.line_chart import LineChart
from tests.screenshots.scripted import scripted_events, scripted_record, with_retention
from tests.ui.fakes import FakeController

FINISHED = RunFinished(
    status="finished", step=212, update=204, trainable_parameters=1, total_parameters=2, adapter_bytes=3, peak_memory=4,
    seconds=231.0,
)  # fmt: skip


@pytest.fixture
def page(context: AppContext, qtbot: QtBot) -> TrainPage:
    return _page(context, qtbot, scripted_record())


def _page(context: AppContext, qtbot: QtBot, record: RunRecord | None) -> TrainPage:
    context.record = record
    page = TrainPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    return page


def test_a_finished_run_is_seen_whole_without_scrolling(context: AppContext, qtbot: QtBot) -> None:
    record = scripted_record()
    record.apply(FINISHED)
    page = _page(context, qtbot, record)
    qtbot.waitUntil(page.banner.isVisible)
    QApplication.processEvents()
    assert page.area.verticalScrollBar().maximum() == 0


def _next_step(**changes: object) -> StepCompleted:
    """The step after the last of the script."""
    last = next(event for event in reversed(scripted_events()) if isinstance(event, StepCompleted))
    return dataclasses.replace(last, **({"step": last.step + 1, "update": last.update + 1} | changes))  # type: ignore[arg-type]


def _figure(page: TrainPage, key: str) -> str:
    return page.figures.figures[key].text


def _apply(page: TrainPage, context: AppContext, *events: object) -> None:
    assert context.record is not None
    for event in events:
        context.record.apply(event)  # type: ignore[arg-type]
    page.refresh()


def test_before_any_run_the_page_leads_to_setup(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, None)
    assert page.empty.isVisible()
    with qtbot.waitSignal(context.page_requested) as request:
        qtbot.mouseClick(page.empty.set_up, Qt.MouseButton.LeftButton)
    assert request.args == ["setup"]


def test_the_key_figures_are_those_of_the_newest_step(page: TrainPage, context: AppContext) -> None:
    assert context.record is not None
    state = context.record.state
    assert _figure(page, "status") == "Status: Running update 204 of 300"
    assert _figure(page, "loss").startswith(f"Loss: {state.loss:.3f}")
    assert _figure(page, "validation") == "Validation loss: 1.442 −1.17 since start"
    assert _figure(page, "scale") == "Gradient scale: 65,536 2¹⁶"
    assert _figure(page, "skipped") == "Skipped: 8 of 212 attempted"
    assert _figure(page, "speed").endswith("tokens/s")
    assert _figure(page, "memory") == "Memory: 1.5 GB 8 × 512 tokens"
    assert _figure(page, "time") == "Time: 3 min 54 s 1 min 33 s left"
    assert page.heading.whole_text == "SmolLM2-135M-Instruct"
    assert page.about.whole_text == "LoRA · fp16-mixed · cpu · 412 training rows"


def test_the_measured_fit_is_told_and_what_became_of_it(page: TrainPage, context: AppContext) -> None:
    measured = MemoryMeasured(
        rows=4, length=1024, peak=7 * 2**30, available=8 * 2**30, micro_batch_tokens=4096, recompute=True
    )
    _apply(page, context, measured)
    figure = page.figures.figures["memory"]
    assert figure.text == "Memory: 7 GB 4 × 1,024 tokens"
    assert "The longest rows were tried first: 4 of 1024 tokens" in figure.toolTip()
    assert "Activations are recomputed" in figure.toolTip()
    shrunk = MicroBatchShrunk(step=9, during="training", tokens_before=4096, tokens=2048, recompute=True)
    _apply(page, context, shrunk)
    assert figure.text == "Memory: 7 GB 2,048 tokens at a time"
    assert "Memory ran out in a training step." in figure.toolTip()


def test_a_run_of_before_memory_was_measured_has_no_figure_for_it(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted_record([scripted_events()[0]]))
    assert _figure(page, "memory") == "Memory: –"


def test_a_loss_that_is_not_a_number_is_shown_as_such(page: TrainPage, context: AppContext) -> None:
    _apply(page, context, _next_step(loss=math.nan))
    assert _figure(page, "loss").startswith("Loss: NaN")


def test_a_new_step_reaches_every_plot(page: TrainPage, context: AppContext, qtbot: QtBot) -> None:
    _apply(page, context, _next_step())
    charts = (page.plots.loss, page.plots.scale, page.plots.grad_norm, page.plots.learning_rate, page.plots.speed)
    qtbot.waitUntil(lambda: all(chart.curves[0].item.getData()[0][-1] >= 213 for chart in charts))
    qtbot.waitUntil(lambda: page.plots.timeline.newest == 213)


def test_loading_shows_its_stage_and_can_be_cancelled(
    context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    record = scripted_record(scripted_events()[:1])
    context.live, controller.running = record, True
    page = _page(context, qtbot, record)
    _apply(page, context, ProgressReported(stage="loading_model", done=3, total=12))
    assert page.progress.isVisible()
    assert page.progress.bar.value() == 250
    qtbot.mouseClick(page.progress.cancel, Qt.MouseButton.LeftButton)
    assert len(controller.stops) == 1


def test_a_run_of_another_process_offers_no_cancel(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted_record(scripted_events()[:1]))
    assert page.progress.isVisible()
    assert page.progress.cancel.isHidden()


def test_the_stage_gives_way_to_the_curves_after_the_first_step(page: TrainPage) -> None:
    assert not page.progress.isVisible()


def test_a_finished_run_offers_its_export(page: TrainPage, context: AppContext, qtbot: QtBot) -> None:
    assert page.banner.isHidden()
    _apply(page, context, FINISHED)
    assert page.banner.isVisible()
    assert page.banner.verdict.text == (
        "Finished after 204 updates in 3 min 51 s; the result is saved. Validation loss went from 2.610 to 1.442."
    )
    with qtbot.waitSignal(context.page_requested) as request:
        qtbot.mouseClick(page.banner.export, Qt.MouseButton.LeftButton)
    assert request.args == ["export"]


def test_a_validation_loss_of_a_sample_says_of_how_many_rows_it_is(page: TrainPage, context: AppContext) -> None:
    measured = EvaluationCompleted(
        step=212, update=204, loss=1.4, rows=20, held_out=50, supervised_tokens=9, seconds=0.0
    )
    _apply(page, context, measured, FINISHED)
    assert page.banner.verdict.text.endswith("Validation loss went from 2.610 to 1.400 on 20 of 50 held-out rows.")


def test_a_failed_run_says_why_and_shows_its_log(page: TrainPage, context: AppContext, qtbot: QtBot) -> None:
    _apply(page, context, RunFailed(step=212, sentence="The loss is not a number; lower the learning rate."))
    assert page.banner.verdict.text == "The loss is not a number; lower the learning rate."
    assert page.banner.export.isHidden()
    qtbot.mouseClick(page.banner.log, Qt.MouseButton.LeftButton)
    assert page.log.text.isVisible()


def test_the_log_grows_line_by_line_and_is_bounded(page: TrainPage, context: AppContext) -> None:
    page.log.open()
    before = page.log.text.blockCount()
    _apply(page, context, LogLine("one more line"))
    assert page.log.text.blockCount() == before + 1
    assert page.log.text.toPlainText().endswith("one more line")
    _apply(page, context, *(LogLine(f"line {number}") for number in range(LOG_LINES + 100)))
    assert page.log.text.blockCount() == LOG_LINES
    assert page.log.text.toPlainText().endswith(f"line {LOG_LINES + 99}")


def test_the_whole_log_can_be_copied(page: TrainPage, qtbot: QtBot) -> None:
    page.log.open()
    qtbot.mouseClick(page.log.copy, Qt.MouseButton.LeftButton)
    assert theme.application().clipboard().text() == page.log.text.toPlainText()


def test_a_click_in_the_lane_says_what_happened_there(page: TrainPage) -> None:
    plain = page.plots.counts.whole_text
    page.plots.lane.picked.emit(page.plots.lane.event_at(131, SKIPPED))
    assert page.plots.counts.whole_text == "step 131 was skipped: scale 131,072 (2¹⁷) → 65,536 (2¹⁶)"
    page.plots.lane.picked.emit(None)
    assert page.plots.counts.whole_text == plain


def test_another_run_replaces_everything(page: TrainPage, context: AppContext) -> None:
    other = RunRecord()
    started = scripted_events()[0]
    assert isinstance(started, RunStarted)
    other.apply(dataclasses.replace(started, model="other"))
    context.record = other
    page.show_record(other)
    assert page.heading.whole_text == "other"
    assert page.plots.timeline.newest == 0
    assert page.log.text.toPlainText() == ""
    page.show_record(None)
    assert page.empty.isVisible()


def test_retention_stands_below_the_loss_where_it_was_measured(
    page: TrainPage, context: AppContext, qtbot: QtBot
) -> None:
    assert not page.plots.retention.isVisible()
    assert not page.show_outcome.isVisible()
    assert _figure(page, "retention") == "Retention: –"
    kept = _page(context, qtbot, scripted_record(with_retention(scripted_events())))
    assert kept.plots.retention.isVisible()
    assert len(kept.plots.retention.curves[0].series) == len(kept.plots.loss.validation.series)
    assert _figure(kept, "retention") == "Retention: 86.4 % KL 0.091"
    kept.plots.timeline.set_cursor(0)
    assert kept.plots.kept.whole_text == "step 0: retention 100.0 %   perplexity 21.40   KL 0 nats a token"


def test_the_bound_of_retention_comes_from_the_configuration_of_the_run(
    context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    config = '[model]\npath = "m"\n[[data.sources]]\npath = "d"\n[retention]\nstop_below = 0.8\n'
    page = _page(context, qtbot, RunRecord(create_run(tmp_path, "r", config)))
    assert page.plots.retention.overlay.level == pytest.approx(0.8)


def test_the_axes_of_retention_are_chosen_with_those_of_the_others(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted_record(with_retention(scripted_events())))
    retention = page.plots.retention
    retention.set_bound(0.5)
    for name, level in (("Logarithmic axes", math.log10(0.5)), ("Linear axes", 0.5)):
        next(action for action in page.plots.toolbar.axes.menu().actions() if action.text() == name).trigger()
        assert retention.overlay.level == pytest.approx(level)
        top = float(retention.value_axis.forward(np.float64(1.0)))
        qtbot.waitUntil(lambda low=level, high=top: _in_view(retention, low) and _in_view(retention, high))


def _in_view(chart: LineChart, value: float) -> bool:
    low, high = chart.view.viewRange()[1]
    return bool(low < value < high)


def test_what_was_gained_and_lost_is_told_in_words_with_answers_and_rows(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted_record(with_retention(scripted_events())))
    _apply(page, context, FINISHED)
    assert "lost a little of what it could do before" in page.banner.verdict.text
    qtbot.mouseClick(page.show_outcome, Qt.MouseButton.LeftButton)
    outcome = page.outcome
    assert outcome.isVisible()
    assert outcome.width() > 640  # which the main window has before it is shown
    assert "6 of 8 before, 5 after" in outcome.report.text()
    assert "more general rows" in outcome.remedies.text()
    cells = [[str(outcome.answers.index(row, column).data()) for column in range(3)] for row in range(4)]
    assert cells[0][:2] == ["What is LoRA?", "Lora is a font."]  # the user's own come first
    assert cells[3][1:] == ["✓ Mercury", "✗ The base stays frozen. (update 200)"]
    assert [outcome.rows.index(row, 0).data() for row in (0, 4)] == ["train.jsonl:318", "train.jsonl:391"]


def test_answers_show_while_a_run_goes_on(page: TrainPage, context: AppContext) -> None:
    told = with_retention(scripted_events())
    _apply(page, context, *(event for event in told if isinstance(event, PromptsAnswered) and event.update < 50))
    assert page.show_outcome.isVisible()
    assert page.outcome.report.isHidden()
    assert page.outcome.look_closer.isHidden()
    assert page.outcome.answers.index(0, 2).data().endswith("(update 25)")


def test_the_rows_that_stand_out_open_in_the_x_ray(
    context: AppContext, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    config = '[model]\npath = "m"\n[[data.sources]]\npath = "/data/train.jsonl"\n'
    record = scripted_record(with_retention(scripted_events()))
    record.folder = create_run(tmp_path, "r", config)
    page = _page(context, qtbot, record)

    def refuse(_config: object, path: str, _progress: object) -> None:
        asked.append(path)
        raise DataError("There is no such file.")

    monkeypatch.setattr(actions, "open_xray_of_run", refuse)
    page.outcome.show()
    qtbot.mouseClick(page.outcome.look_closer, Qt.MouseButton.LeftButton)
    dialog = page.outcome.xray
    assert dialog is not None
    qtbot.waitUntil(lambda: asked == ["/data/train.jsonl"])
    dialog.reject()
    assert page.outcome.xray is None


def test_smoothing_and_fit_act_on_the_charts(page: TrainPage, qtbot: QtBot) -> None:
    page.plots.smoothing.set_value("32")
    assert page.plots.loss.window == 32
    assert not page.plots.toolbar.fit.isEnabled()
    page.plots.timeline.zoom(0.2, at=100)
    qtbot.mouseClick(page.plots.toolbar.fit, Qt.MouseButton.LeftButton)
    assert page.plots.timeline.whole


def test_the_clip_limit_comes_from_the_configuration_of_the_run(
    context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    config = '[model]\npath = "m"\n[[data.sources]]\npath = "d"\n[training]\nmax_grad_norm = 10.0\n'
    page = _page(context, qtbot, RunRecord(create_run(tmp_path, "r", config)))
    assert page.plots.grad_norm.overlay.level == pytest.approx(1.0)


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page: TrainPage, context: AppContext) -> None:
    _apply(page, context, FINISHED)
    plots = page.plots
    charts = (plots.loss, plots.scale, plots.lane, plots.grad_norm, plots.learning_rate, plots.speed)
    for control in (*charts, plots.smoothing, plots.toolbar.fit, page.banner.export, page.log.button, page.log.copy):
        assert control.accessibleName()
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_steps_that_come_faster_than_they_can_be_drawn_are_all_there_in_the_end(
    page: TrainPage, context: AppContext, qtbot: QtBot
) -> None:
    for extra in range(1, 51):
        _apply(page, context, dataclasses.replace(_next_step(), step=212 + extra))
    drawn = page.plots.speed.curves[0]
    qtbot.waitUntil(lambda: drawn.item.getData()[0][-1] == 262)
    assert page.plots.timeline.last > 262


def test_a_run_that_waits_in_trouble_says_so_and_leads_to_its_numerics(
    page: TrainPage, context: AppContext, qtbot: QtBot
) -> None:
    _apply(page, context, RunPaused(step=212, because="forward_overflow"))
    assert page.banner.isVisible()
    assert "Activations beyond fp16" in page.banner.verdict.text
    with qtbot.waitSignal(context.page_requested) as request:
        qtbot.mouseClick(page.banner.numerics, Qt.MouseButton.LeftButton)
    assert request.args == ["numerics"]
    _apply(page, context, RunResumed(step=212))
    assert not page.banner.isVisible()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (0, "Finished after 3 s, before the first update: nothing was learnt."),
        (2, "Finished after 3 s without an update: all 2 steps were skipped, and nothing was learnt."),
    ],
)
def test_a_run_without_an_update_does_not_claim_a_result(
    context: AppContext, qtbot: QtBot, steps: int, words: str
) -> None:
    page = _page(context, qtbot, RunRecord())
    measured = EvaluationCompleted(step=0, update=0, loss=3.024, rows=2, supervised_tokens=5, seconds=1.0)
    skips = [_next_step(step=step, update=0, skipped=True) for step in range(1, steps + 1)]
    _apply(page, context, measured, *skips, dataclasses.replace(FINISHED, step=steps, update=0, seconds=3.0))
    assert page.banner.verdict.text == words
    assert page.banner.verdict.level == "warning"
    assert page.banner.export.property("kind") == "plain"
    assert page.banner.numerics.isVisible() == bool(steps)
