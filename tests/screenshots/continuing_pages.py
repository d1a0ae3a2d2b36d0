"""Pictures of runs that are continued, paused, found again and queued. `render.py` draws them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from PySide6.QtWidgets import QWidget

from studio.config import parse_config
from studio.events import CheckpointSaved, RunFailed, RunPaused, RunResumed, RunStarted, StepCompleted
from studio.i18n import sentences, tr
from studio.runner.controller import Controller
from studio.runner.record import RunRecord
from studio.runner.state import RunInterrupted
from studio.runs import Journal, RunFolder, holder_of
from studio.ui.bridge import AppContext
from studio.ui.dialogs.cluster import ClusterDialog
from studio.ui.dialogs.queue import QueueDialog
from studio.ui.main_window import MainWindow
from tests.screenshots.scripted import START, scripted_events, scripted_record, scripted_runs, with_retention
from tests.screenshots.windows import FINISHED, offscreen_context, settle, window_at


class Live(Controller):
    """A controller that says what a picture needs."""

    running, paused, pausing, resuming = True, False, False, False
    where = "thread"


def _saved(step: int, update: int) -> CheckpointSaved:
    return CheckpointSaved(time=START + step, step=step, update=update, path=f"/runs/r/checkpoints/step-{step:06d}")


def _live_window(record: RunRecord, controller: Controller, page: str = "train") -> MainWindow:
    context = offscreen_context(controller)
    record.folder = scripted_runs(context.runs_root)[0]
    context.record = context.live = record
    window = window_at(page, context)
    context.run_state_changed.emit()
    return window


def _joined() -> RunRecord:
    """A run that was cut off at step 130 and went on from step 110, with what it unlearns."""
    events = with_retention(scripted_events())
    steps = [event for event in events if isinstance(event, StepCompleted)]
    update = next(event.update for event in steps if event.step == 110)
    record = scripted_record([event for event in events if getattr(event, "step", 0) <= 130])
    seam = RunResumed(time=START + 9000, step=110, update=update, restarted=True)
    for event in (_saved(110, update), seam, *(e for e in events if getattr(e, "step", 0) > 110)):
        record.apply(event)
    return record


def page_continue_cut_off() -> QWidget:
    """The card after a crash."""
    context = offscreen_context()
    folder = _cut_off(context)
    window = window_at("setup", context)
    window.continuing.look()
    settle(context)
    assert folder.path.exists()
    return window


def _cut_off(context: AppContext) -> RunFolder:
    folder = scripted_runs(context.runs_root)[4]
    with Journal(folder.journal) as journal:
        for event in scripted_events():
            journal.append(event)
    checkpoint = folder.checkpoint(200)
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text("{}")
    os.utime(checkpoint / "manifest.json", (START + 200, START + 200))
    os.utime(folder.journal, (START + 214, START + 214))
    return folder


def page_continue_interrupted() -> QWidget:
    """The Train page of a run whose own process ran out of memory."""
    record = scripted_record()
    record.apply(_saved(200, 192))
    record.apply(RunInterrupted(cause="out_of_memory", code=-9))
    return _live_window(record, _ended())


def page_continue_failed() -> QWidget:
    """The Train page of a run that failed."""
    record = scripted_record()
    record.apply(_saved(200, 192))
    record.apply(RunFailed(step=212, sentence=tr("A trained weight is not a finite number; nothing was saved.")))
    return _live_window(record, _ended())


def _ended() -> Controller:
    controller = Live()
    controller.running = False  # type: ignore[misc]
    return controller


def page_continue_changed() -> QWidget:
    """The Train page of a run that was not gone on with, because its data have changed."""
    record = scripted_record()
    record.apply(_saved(200, 192))
    found = tr("The rows of the data are no longer those that this run was trained on until now.")
    advice = tr("Put the old ones back, or go on with these on purpose.")
    record.apply(RunFailed(step=230, sentence=sentences((found, advice)), needs_consent=True))
    context = offscreen_context()
    record.folder = scripted_runs(context.runs_root)[0]
    context.record = record
    return window_at("train", context)


def page_continue_all_gpus() -> QWidget:
    """The Training card on a computer with four GPUs."""
    window = page_continue_own_process()
    assert isinstance(window, MainWindow)
    window.setup.training.show_gpus(4)
    return window


def page_continue_seam() -> QWidget:
    """A run that went on: one line, with the seam marked."""
    record = _joined()
    record.apply(FINISHED)
    return _live_window(record, _ended())


def page_continue_running() -> QWidget:
    """A run that trains on, with the checkpoint that was saved last."""
    return _live_window(_joined(), Live())


def page_continue_pausing() -> QWidget:
    """A run that was asked to wait a moment ago."""
    controller = Live()
    controller.pausing = True  # type: ignore[misc]
    return _live_window(scripted_record(), controller)


def page_continue_paused() -> QWidget:
    """A run that waits, and has given the GPU back."""
    controller = Live()
    controller.paused = True  # type: ignore[misc]
    record = scripted_record()
    record.apply(dataclasses.replace(_started(), device="cuda:0"))
    record.apply(_saved(212, 204))
    record.apply(RunPaused(step=212, released=5 * 2**30))
    return _live_window(record, controller)


def _started() -> RunStarted:
    return next(event for event in scripted_events() if isinstance(event, RunStarted))


def page_continue_runs() -> QWidget:
    """Past runs: one to go on with, one that another process trains."""
    context = offscreen_context()
    folders = scripted_runs(context.runs_root)
    _write_lock(folders[1])
    folders[1].write_state("running")
    window = window_at("runs", context)
    window.pages["runs"]._select(folders[4])
    return window


def _write_lock(folder: RunFolder) -> None:
    (folder.path / "lock").write_text(json.dumps(dataclasses.asdict(holder_of(os.getppid()))))


def page_continue_train_on() -> QWidget:
    """How long a finished run is to go on."""
    context = offscreen_context()
    scripted_runs(context.runs_root)
    window = window_at("runs", context)
    window.pages["runs"].go_on.click()
    return window.findChild(QWidget, "train_on") or window


def page_continue_own_process() -> QWidget:
    """The Training card: where the run lives, and how often checkpoints are saved."""
    window = window_at("setup", offscreen_context())
    card = window.setup.training
    card.place.set_values({"where": "process"})
    card.checkpoints.more.open()
    settle(window.context)
    place = card.place.mapTo(window.setup.area.widget(), card.place.rect().topLeft()).y()
    window.setup.area.verticalScrollBar().setValue(place - 40)
    return window


def _config(model: str, method: str, precision: str) -> object:
    return parse_config(
        {
            "model": {"path": f"/models/{model}"},
            "data": {"sources": [{"path": "/data/train.jsonl"}]},
            "method": {"name": method},
            "precision": {"name": precision},
        }
    )


def page_continue_queue() -> QWidget:
    """What is trained next."""
    context = offscreen_context(Live())
    root = Path("/runs")
    for number, (model, method, precision, where) in enumerate(
        (
            ("Qwen2.5-0.5B", "lora", "bf16-mixed", "thread"),
            ("SmolLM2-135M-Instruct", "full", "bf16-mixed", "process"),
            ("SmolLM2-135M-Instruct", "lora", "fp16-mixed", "process"),
        )
    ):
        run = context.queue.add(_config(model, method, precision), root, where)  # type: ignore[arg-type]
        if number == 0:
            problem = tr("There is no {path}.").format(path="/models/Qwen2.5-0.5B")
            context.queue._keep((dataclasses.replace(run, problem=problem),))
    context.queue.held = False
    return QueueDialog(context)


def page_continue_queue_bar() -> QWidget:
    """The run bar while others wait."""
    context = offscreen_context(Live())
    for precision in ("bf16-mixed", "fp16-mixed"):
        context.queue.add(_config("SmolLM2", "lora", precision), Path("/runs"))  # type: ignore[arg-type]
    record = scripted_record()
    record.folder = scripted_runs(context.runs_root)[0]
    context.record = context.live = record
    return window_at("train", context)


def page_continue_cluster() -> QWidget:
    """The present configuration for more than one GPU."""
    config = _config("SmolLM2-135M-Instruct", "lora", "bf16-mixed")
    dialog = ClusterDialog(config, Path("/shared/runs"), lambda: None)  # type: ignore[arg-type]
    dialog.size_form.rows["gpus"].editor.set_value(4)
    dialog.size_form.rows["nodes"].editor.set_value(2)
    return dialog
