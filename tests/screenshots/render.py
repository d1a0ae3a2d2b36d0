"""Draw the pages with a scripted run and save them as pictures, light and dark, to look at.

    python tests/screenshots/render.py [OUT] [PAGE…]

OUT is docs/screenshots unless given. A page is a function here whose name begins with `page_`; it returns the
widget to draw. Nothing is trained: the run is made of events, as in the tests.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from studio.engine.export.certificate import Certificate, Check
from studio.events import (
    DataPrepared,
    EvaluationCompleted,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    StepCompleted,
)
from studio.runner.record import LogLine, RunRecord
from studio.runs import RunFolder, create_run
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.fonts import interface_font
from studio.ui.pages.export import ExportPage
from studio.ui.pages.runs import RunsPage
from studio.ui.pages.train import TrainPage
from studio.ui.settings import Settings

# What the window leaves a page at 1280x800.
SIZE = (1190, 714)
START = 1_795_000_000.0


def scripted_events(steps: int = 212, initial_scale: float = 2.0**23) -> list[RunEvent]:
    """A believable fp16 run: a few skips while the scale is searched, then a falling loss."""
    chance = random.Random(7)
    events: list[RunEvent] = [
        RunStarted(
            time=START,
            run="20261123-101500-smollm2",
            model="SmolLM2-135M-Instruct",
            kind="chat",
            method="lora",
            precision="fp16-mixed",
            precision_reason="asked for",
            device="cpu",
            versions={},
        ),
        DataPrepared(
            time=START,
            train_rows=412,
            validation_rows=22,
            general_rows=60,
            skipped_rows=3,
            skipped={"empty answer": 3},
            tokens=91_200,
            supervised_tokens=48_000,
            longest=512,
            planned_updates=300,
        ),
        EvaluationCompleted(time=START, step=0, update=0, loss=2.61, rows=22, supervised_tokens=2400, seconds=2.0),
    ]
    scale, update = initial_scale, 0
    for step in range(1, steps + 1):
        skipped = step <= 7 or step == 131
        update += not skipped
        tokens = chance.randint(900, 1500)
        events.append(
            StepCompleted(
                time=START + step,
                step=step,
                update=update,
                epoch=update / 52,
                loss=1.35 + 1.2 * math.exp(-update / 45) + chance.gauss(0, 0.07),
                learning_rate=2e-4 * min(1.0, update / 9) * 0.5 * (1 + math.cos(math.pi * update / 300)),
                grad_norm=math.inf if skipped else 0.4 + 2.4 * math.exp(-update / 20) + abs(chance.gauss(0, 0.12)),
                grad_scale=scale,
                skipped=skipped,
                tokens=tokens,
                supervised_tokens=tokens // 2,
                micro_batches=2,
                seconds=tokens / chance.gauss(1180, 40),
            )
        )
        scale = scale / 2 if skipped else scale * 2 if step == 130 else scale
        if update and update % 25 == 0 and not skipped:
            loss = 1.42 + 1.19 * math.exp(-update / 50)
            events.append(
                EvaluationCompleted(step=step, update=update, loss=loss, rows=22, supervised_tokens=2400, seconds=2.0)
            )
    events.append(
        OverflowDiagnosed(
            step=7,
            verdict="scale_search",
            harmful=False,
            advice="Nothing to do.",
            evidence={},
            sentence="normal scale search at the start",
        )
    )
    return events


def scripted_record(events: list[RunEvent] | None = None) -> RunRecord:
    """Return the record of a scripted run, with a log."""
    record = RunRecord()
    for event in scripted_events() if events is None else events:
        record.apply(event)
    for line in ("INFO Loaded SmolLM2-135M-Instruct in 1.4 s", "INFO 412 rows, 3 skipped, 48,000 supervised tokens"):
        record.apply(LogLine(f"10:15:04 {line}"))
    return record


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


CONFIG = """[model]
path = "/models/SmolLM2-135M-Instruct"
kind = "chat"

[[data.sources]]
path = "/data/train.jsonl"
role = "domain"
format = "messages"

[method]
name = "lora"
rank = 16
alpha = 32

[precision]
name = "fp16-mixed"

[training]
epochs = 3.0
learning_rate = 0.0002
"""


def scripted_runs(root: Path) -> list[RunFolder]:
    """Write some past runs, good and bad, as the engine leaves them."""
    found = []
    for number, (model, method, precision, status, updates, losses, seconds) in enumerate(
        (
            ("SmolLM2-135M-Instruct", "lora", "fp16-mixed", "finished", 204, (2.61, 1.44), 231.0),
            ("SmolLM2-135M-Instruct", "lora", "bf16-mixed", "finished", 300, (2.61, 1.39), 342.0),
            ("SmolLM2-135M-Instruct", "full", "fp32", "stopped", 58, (2.61, 2.02), 611.0),
            ("Qwen2.5-0.5B", "lora", "fp16-mixed", "failed", 12, (3.02, None), 44.0),
            ("SmolLM2-135M-Instruct", "lora", "fp16-mixed", "running", 0, (None, None), None),
        )
    ):
        folder = create_run(root, f"{model}-{method}-{precision}", CONFIG)
        details = {"seconds": seconds} if seconds else {}
        if status == "failed":
            details["error"] = "The loss is not a number since step 12; row 17 of train.jsonl has an empty answer: remove it."
        folder.write_state(
            status, created=START - 86_400 * number - 4_000 * number, updates=updates, method=method, precision=precision,
            model={"name": model, "path": f"/models/{model}", "kind": "chat"},
            validation_loss={"first": losses[0], "last": losses[1]}, **details,
        )
        folder.adapter.mkdir()
        (folder.adapter / "adapter_config.json").write_text("{}")
        found.append(folder)
    return found


def scripted_certificate(run: RunFolder, name: str, good: bool, created: float) -> None:
    """Write a certificate as an export leaves it."""
    far = 4.2e-5 if good else 3.71
    checks = (
        Check(name="loads_completely", passed=True, value=0, limit=0.0,
              meaning="The export opens from disk, with every weight in its place."),
        Check(name="all_weights_finite", passed=True, value=0, limit=0.0, meaning="Every weight is a finite number."),
        Check(name="max_logit_difference", passed=good, value=far, limit=1e-3,
              meaning=f"The outputs of the export differ from those of the trained model by {far:.2g} at most; "
                      "up to 0.001 comes from rounding."),
        Check(name="kl_divergence", passed=good, value=far / 40, limit=1e-4,
              meaning="On average the export predicts the next token as the trained model does."),
        Check(name="top1_agreement", passed=True, value=1.0 if good else 0.995, limit=0.99,
              meaning="The export and the trained model find the same token the likeliest at nearly all positions."),
        Check(name="delta_present", passed=True, value=0.999, limit=0.5,
              meaning="The export differs from the base as the training made it differ."),
        Check(name="template_carried", passed=True, value=True, limit=None, meaning="The chat template is the base's."),
        Check(name="stops_by_itself", passed=True, value=23, limit=128.0,
              meaning="A generated answer ends by itself, after 23 tokens."),
    )
    files = {"model.safetensors": 538_090_408, "tokenizer.json": 3_519_300, "config.json": 912, "generation_config.json": 156}
    folder = run.exports / name
    folder.mkdir(parents=True)
    Certificate(
        checks=checks, base={"name": "SmolLM2-135M-Instruct"}, target="merged", dtype="fp32" if good else "bf16",
        prompts=(), files={name: {"bytes": size, "sha256": "0" * 64} for name, size in files.items()}, run=run.name,
        versions={}, created=created,
    ).write(folder)


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
