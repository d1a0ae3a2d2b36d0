"""Draw the pages with a scripted run and save them as pictures, light and dark, to look at.

    python -m tests.screenshots.render [OUT] [PAGE…]

OUT is docs/screenshots unless given. A page is a function here whose name begins with `page_`; it returns the
widget to draw. Nothing is trained: the run is made of events, as in the tests.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from studio.events import EvaluationCompleted, ProgressReported, RunFailed, RunFinished, StepCompleted
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.fonts import interface_font
from studio.ui.pages.export import ExportPage
from studio.ui.pages.runs import RunsPage
from studio.ui.pages.train import TrainPage
from studio.ui.settings import Settings
from tests.screenshots.scripted import START, scripted_certificate, scripted_events, scripted_record, scripted_runs

# What the window leaves a page at 1280x800.
SIZE = (1190, 714)


def offscreen_context() -> AppContext:
    """Return a context whose settings and runs lie in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="studio-render-"))
    settings = Settings(folder / "settings.ini")
    settings.runs_root = folder / "runs"
    return AppContext(settings)


def train_page(record: RunRecord | None) -> QWidget:
    """Return the Train page with a record."""
    context = offscreen_context()
    context.record = record
    page = TrainPage(context)
    context.setParent(page)
    return page


def page_train() -> QWidget:
    """A run in the middle."""
    return train_page(scripted_record())


def page_train_empty() -> QWidget:
    """Before any run."""
    return train_page(None)


def page_train_loading() -> QWidget:
    """While the model is loaded."""
    record = scripted_record(scripted_events()[:1])
    record.apply(ProgressReported(stage="loading_model", done=118, total=272))
    return train_page(record)


def page_train_finished() -> QWidget:
    """A run that ended well, with the log open."""
    record = scripted_record()
    record.apply(
        RunFinished(
            status="finished",
            step=212,
            update=204,
            trainable_parameters=4_884_480,
            total_parameters=139_399_488,
            adapter_bytes=19_000_000,
            peak_memory=2 * 2**30,
            seconds=231.0,
        )
    )
    page = train_page(record)
    page.log.open()
    return page


def page_train_failed() -> QWidget:
    """A run that ended badly, in a precision without loss scaling."""
    events = [dataclasses.replace(e, grad_scale=None) if isinstance(e, StepCompleted) else e for e in scripted_events()]
    nan = [dataclasses.replace(e, loss=math.nan) if getattr(e, "step", 0) in (90, 91) else e for e in events[:150]]
    record = scripted_record([e for e in nan if not isinstance(e, EvaluationCompleted) or math.isfinite(e.loss)])
    sentence = "The loss is not a number since step 140; row 17 of train.jsonl has an empty answer: remove it."
    record.apply(RunFailed(step=146, sentence=sentence))
    return train_page(record)


def settled(context: AppContext, page: QWidget) -> QWidget:
    """Show a page and let its background reading end."""
    context.setParent(page)
    page.resize(*SIZE)
    page.show()
    for _ in range(3):
        context.join(10)
        context.tick()
    return page


def page_runs() -> QWidget:
    """Past runs."""
    context = offscreen_context()
    scripted_runs(context.runs_root)
    return settled(context, RunsPage(context))


def page_runs_empty() -> QWidget:
    """Before any run."""
    context = offscreen_context()
    return settled(context, RunsPage(context))


def page_export() -> QWidget:
    """A certificate that passed."""
    context = offscreen_context()
    run = scripted_runs(context.runs_root)[0]
    scripted_certificate(run, "merged-bf16", False, START + 100)
    scripted_certificate(run, "merged-fp32", True, START + 200)
    context.record = RunRecord(run)
    return settled(context, ExportPage(context))


def page_export_failed() -> QWidget:
    """A certificate that did not pass."""
    context = offscreen_context()
    run = scripted_runs(context.runs_root)[0]
    scripted_certificate(run, "merged-bf16", False, START + 100)
    context.record = RunRecord(run)
    return settled(context, ExportPage(context))


def page_export_empty() -> QWidget:
    """Before any run has ended."""
    context = offscreen_context()
    return settled(context, ExportPage(context))


def page_export_busy() -> QWidget:
    """While an export is under way."""
    context = offscreen_context()
    context.record = RunRecord(scripted_runs(context.runs_root)[0])
    page = ExportPage(context)
    settled(context, page)
    page.form.progress.report("verifying", 12, 30)
    page.form.set_busy("An export is under way.")
    return page


def save(widget: QWidget, path: Path) -> None:
    """Lay out, draw and write one picture."""
    app = theme.application()
    widget.resize(*SIZE)
    widget.show()
    for _ in range(6):
        app.processEvents()
    widget.grab().save(str(path))
    print(path)


def main(arguments: list[str]) -> None:
    out = Path(arguments[0] if arguments else "docs/screenshots")
    out.mkdir(parents=True, exist_ok=True)
    wanted = arguments[1:]
    pages = {name.removeprefix("page_"): make for name, make in globals().items() if name.startswith("page_")}
    app = QApplication([])
    app.setFont(interface_font())
    theme.install(app, "light")
    for name in wanted or pages:
        for shade in theme.CHOICES[1:]:
            theme.choose(shade)
            widget = pages[name]()
            widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
            widget.setAutoFillBackground(True)
            save(widget, out / f"{name}-{shade}.png")
            widget.hide()
            widget.deleteLater()


if __name__ == "__main__":
    main(sys.argv[1:])
