"""Pictures of the Train, Numerics and Runs pages, and of the laboratory. `render.py` draws them."""

from __future__ import annotations

import dataclasses
import math

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.events import EvaluationCompleted, ProgressReported, RunFailed, StepCompleted
from studio.i18n import tr
from studio.licences import components
from studio.runner import laboratory
from studio.runs import Journal, RunLabel, write_label
from studio.ui import theme
from studio.ui.dialogs.about import About
from studio.ui.dialogs.laboratory import Laboratory
from studio.ui.dialogs.run_label import LabelDialog
from studio.ui.dialogs.runs_comparison import RunsComparison
from studio.ui.main_window import MainWindow
from studio.ui.pages.numerics.events import EventPanel
from tests.engine.numerics.test_diagnosis_words import streams
from tests.screenshots import scripted_numerics, scripted_setup
from tests.screenshots.scripted import (
    scripted_events,
    scripted_record,
    scripted_runs,
    with_meters,
    with_retention,
)
from tests.screenshots.windows import (
    FINISHED,
    offscreen_context,
    opened,
    record_window,
    settle,
    train_window,
    window_at,
)

VERDICT = QSize(440, 420)
VERDICTS_ACROSS = 4


def page_about() -> QWidget:
    """Versions."""
    window = window_at("setup", offscreen_context())
    return opened(window, About(window.context, window))


def page_about_licences() -> QWidget:
    """The licence of Qt."""
    window = window_at("setup", offscreen_context())
    dialog = About(window.context, window)
    dialog.choice.set_value("licences")
    opened(window, dialog)
    dialog.programs.setCurrentRow([one.name for one in components()].index("PySide6_Essentials"))
    return dialog


def page_laboratory() -> QWidget:
    """The experiments."""
    window = window_at("setup", offscreen_context())
    return opened(window, Laboratory(window.context, window))


def page_laboratory_comparison() -> QWidget:
    """Three precisions compared, all runs ended."""
    context = offscreen_context(scripted_setup.ScriptedRuns(32, [0.0, 0.004, 0.03]))
    window = window_at("setup", context)
    dialog = Laboratory(context, window)
    experiment = laboratory.experiment("precisions")
    dialog.comparison.start(experiment, scripted_setup.write_files(experiment, context.runs_root.parent))
    return opened(window, dialog)


def page_train() -> QWidget:
    """A run in the middle."""
    return train_window(scripted_record(with_retention(scripted_events())[:-2]), live=True)


def page_train_meters() -> QWidget:
    """A run in the middle, with the meters of a GPU."""
    window = train_window(scripted_record(with_meters(with_retention(scripted_events()))[:-2]), live=True)
    return _scrolled_down(window)


def page_train_meters_of_a_processor() -> QWidget:
    """The same without a GPU."""
    return _scrolled_down(train_window(scripted_record(with_meters(scripted_events(), gpu=False)[:-2]), live=True))


def _scrolled_down(window: MainWindow) -> MainWindow:
    area = window.pages["train"].area  # type: ignore[attr-defined]
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    settle(window.context)
    return window


def page_train_kept() -> MainWindow:
    """A run that ended, with what it gained, kept and lost."""
    record = scripted_record(with_retention(scripted_events()))
    record.apply(FINISHED)
    return train_window(record)


def page_outcome() -> QWidget:
    """What it gained, kept and lost, in its window."""
    window = page_train_kept()
    outcome = window.pages["train"].outcome
    outcome.show()
    return outcome


def page_train_cursor() -> QWidget:
    """The mouse over a skipped step, zoomed in."""
    window = train_window(scripted_record())
    timeline = window.pages["train"].plots.timeline
    timeline.zoom(0.15, at=0)
    timeline.set_cursor(4)
    return window


def page_train_empty() -> QWidget:
    """Before any run."""
    return window_at("train", offscreen_context())


def page_train_loading() -> QWidget:
    """While the model is loaded."""
    record = scripted_record(scripted_events()[:1])
    record.apply(ProgressReported(stage="loading_model", done=118, total=272))
    return train_window(record, live=True)


def page_train_finished() -> QWidget:
    """A run that ended well, with the log open."""
    record = scripted_record()
    record.apply(FINISHED)
    window = train_window(record)
    window.pages["train"].log.open()
    return window


def page_train_failed() -> QWidget:
    """A run that ended badly, in a precision without loss scaling."""
    events = [dataclasses.replace(e, grad_scale=None) if isinstance(e, StepCompleted) else e for e in scripted_events()]
    nan = [dataclasses.replace(e, loss=math.nan) if getattr(e, "step", 0) in (90, 91) else e for e in events[:150]]
    record = scripted_record([e for e in nan if not isinstance(e, EvaluationCompleted) or math.isfinite(e.loss)])
    record.apply(RunFailed(step=146, sentence=tr("A trained weight is not a finite number; nothing was saved.")))
    return train_window(record)


def page_numerics_clean() -> QWidget:
    """A run without trouble; one larger scale was tried and taken back."""
    return record_window("numerics", scripted_numerics.clean(), live=True)


def page_numerics_search() -> QWidget:
    """The first steps, while the scale is searched; the scale line is dragged."""
    window = record_window("numerics", scripted_numerics.scale_search(), live=True)
    window.pages["numerics"].histogram.view.explore(8)
    return window


def page_numerics_chronic() -> QWidget:
    """Steps keep being skipped; a cell of the map was clicked."""
    window = record_window("numerics", scripted_numerics.chronic_overflow())
    page = window.pages["numerics"]
    page.modules.map.draw()
    page.modules.map.choose(212, 124)
    page.modules.map.chosen.emit(212, 124)
    return window


def page_numerics_forward() -> QWidget:
    """Activations beyond fp16, in the map of activations."""
    window = record_window("numerics", scripted_numerics.forward_overflow())
    window.pages["numerics"].modules.direction.set_value("activation")
    return window


def page_numerics_bf16() -> QWidget:
    """A precision without loss scaling."""
    return record_window("numerics", scripted_numerics.unscaled())


def page_numerics_unscaled() -> QWidget:
    """fp16 whose loss scaling is switched off: everything is flushed to zero."""
    return record_window("numerics", scripted_numerics.switched_off())


def page_numerics_off() -> QWidget:
    """A run that records no numerics."""
    return record_window("numerics", scripted_record())


def page_verdicts() -> QWidget:
    """Every kind of verdict, each of a run that ended in it."""
    kinds = {verdict.verdict: verdict for verdict in streams().values()}
    board, grid = QWidget(), QGridLayout()
    for place, verdict in enumerate(kinds.values()):
        record = scripted_record([])
        record.apply(verdict)
        panel = EventPanel()
        panel.show_record(record)
        panel.setFixedSize(VERDICT)
        grid.addWidget(panel, *divmod(place, VERDICTS_ACROSS))
    board.setLayout(grid)
    board.adjustSize()
    board.show()
    theme.application().processEvents()
    return board


def page_numerics_empty() -> QWidget:
    """Before any run."""
    return window_at("numerics", offscreen_context())


def page_runs() -> QWidget:
    """Past runs; one of them has a name and a star, and two a journal."""
    context = offscreen_context()
    folders = scripted_runs(context.runs_root)
    for folder in folders[:2]:
        with Journal(folder.journal) as journal:
            for event in scripted_events():
                journal.append(event)
    label = RunLabel(name="Second try", tags=("baseline",), notes="The warm-up was too short.", star=True)
    write_label(folders[1].path, label)
    window = window_at("runs", context)
    settle(context)
    return window


def page_run_label() -> QWidget:
    """What a person says of a run."""
    window = window_at("runs", offscreen_context())
    label = RunLabel(name="Second try", tags=("baseline", "rank 16"), notes="The warm-up was too short.", star=True)
    return opened(window, LabelDialog(label, "smollm2-135m-instruct-lora-fp16-mixed", window))


def page_runs_comparison() -> QWidget:
    """Four runs beside each other."""
    context = offscreen_context()
    folders = scripted_runs(context.runs_root)[:4]
    for number, folder in enumerate(folders):
        with Journal(folder.journal) as journal:
            for event in scripted_events():
                if isinstance(event, StepCompleted):
                    changes = {"loss": event.loss * (1 + 0.06 * number), "seconds": event.seconds * (1 + 0.2 * number)}
                    event = dataclasses.replace(event, **changes)
                journal.append(event)
    window = window_at("runs", context)
    return opened(window, RunsComparison(context, folders, window))


def page_runs_unmatched() -> QWidget:
    """A filter that no run matches."""
    context = offscreen_context()
    scripted_runs(context.runs_root)
    window = window_at("runs", context)
    settle(context)
    window.pages["runs"].search.setText("mixtral")
    return window


def page_runs_empty() -> QWidget:
    """Before any run."""
    return window_at("runs", offscreen_context())
