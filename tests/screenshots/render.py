"""Draw the window with a scripted run and save it as pictures, light and dark, to look at.

    python -m tests.screenshots.render [--small] [OUT] [PAGE…]

OUT is docs/screenshots unless given; --small draws a window of 1024 x 640. A page is a function here whose name begins with `page_`; it returns the
window to draw. Nothing is trained: the run is made of events, as in the tests.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication, QDialog, QScrollArea, QWidget

from studio.config import DataSource, RunConfig, parse_config
from studio.engine import device
from studio.engine.estimate.plan import gpu_of, plan, storage_reasons
from studio.engine.models.info import ModelInfo
from studio.engine.precision.choose import reason_text
from studio.events import EvaluationCompleted, MemoryMeasured, ProgressReported, RunFailed, RunFinished, StepCompleted
from studio.paths import resource
from studio.runner import actions, laboratory
from studio.runner.controller import Controller
from studio.runner.queue import RunQueue
from studio.runner.record import RunRecord
from studio.torch_build import UnusedCard
from studio.ui import job, theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs import precision_probe
from studio.ui.dialogs.hub_dataset import HubDataset
from studio.ui.dialogs.laboratory import Laboratory
from studio.ui.dialogs.method_comparison import MethodComparison
from studio.ui.dialogs.precision_probe import PrecisionProbe
from studio.ui.dialogs.xray.dialog import XRayDialog
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from studio.ui.theme import interface_font
from tests.screenshots import scripted_data, scripted_numerics, scripted_setup
from tests.screenshots.scripted import (
    GGUF_FIGURES,
    START,
    scripted_certificate,
    scripted_events,
    scripted_gguf,
    scripted_latency,
    scripted_record,
    scripted_runs,
    with_retention,
)

FINISHED = RunFinished(
    status="finished",
    step=212,
    update=204,
    trainable_parameters=4_884_480,
    total_parameters=139_399_488,
    adapter_bytes=19_000_000,
    peak_memory=2 * 2**30,
    seconds=231.0,
)
SIZE, SMALL = (1280, 800), (1024, 640)


class Training(Controller):
    """A controller that says a run is under way."""

    running = True
    paused = False


def offscreen_context(controller: Controller | None = None) -> AppContext:
    """Return a context whose settings and runs lie in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="studio-render-"))
    settings = Settings(folder / "settings.ini")
    settings.runs_root = folder / "runs"
    return AppContext(settings, controller, RunQueue(folder / "queue.json"))


def window_at(page: str, context: AppContext) -> MainWindow:
    """Return the window at a page, its background reading done."""
    window = MainWindow(context)
    context.setParent(window)
    window.resize(*(SMALL if "--small" in sys.argv else SIZE))
    window.show()
    window.go_to(page)
    settle(context)
    return window


def settle(context: AppContext, turns: int = 3) -> None:
    """Let what was asked in the background be answered, and what follows from the answers be asked."""
    for _ in range(turns):
        theme.application().processEvents()
        context.join(60)
        context.tick()


def train_window(record: RunRecord, *, live: bool = False) -> MainWindow:
    """Return the window at the Train page with a record."""
    return record_window("train", record, live=live)


def record_window(page: str, record: RunRecord, *, live: bool = False) -> MainWindow:
    """Return the window at a page that shows a record."""
    context = offscreen_context(Training() if live else None)
    record.folder = scripted_runs(context.runs_root)[0]
    context.record = record
    context.live = record if live else None
    return window_at(page, context)


def page_setup() -> QWidget:
    """The first sight of the window."""
    return window_at("setup", offscreen_context())


def page_setup_unused_card() -> QWidget:
    """A card that the installed torch cannot use, and the command that mends it."""
    index = "https://download.pytorch.org/whl/cu130"
    card = UnusedCard(
        "NVIDIA GeForce RTX 4070",
        "the installed torch (2.13.0+cpu) cannot use it, and the CUDA 13.0 build can",
        rf"C:\studio\.venv\Scripts\python.exe -m pip install --extra-index-url {index} torch==2.13.0+cu130",
    )
    with patch.object(actions, "look_for_cards", lambda: actions.GraphicsCards(unused=(card,))):
        return window_at("setup", offscreen_context())


def setup_window(method: dict[str, object], memory: int = 16 * scripted_setup.GB) -> MainWindow:
    """Return the window at the Setup page with SmolLM2 and a method chosen, on a machine with so much memory."""
    context = offscreen_context()
    window = window_at("setup", context)
    tables = {
        "model": {"path": "/models/SmolLM2-135M-Instruct"},
        "method": method,
        "precision": {"name": "bf16-mixed"},
        "training": {"device": "cpu"},
    }
    with (
        patch.object(actions, "open_model", lambda path, _progress: scripted_setup.smollm2(path)),
        patch.object(device, "memory_of", lambda _device: (memory, memory)),
        patch.object(job, "PAUSE_MILLISECONDS", 0),
    ):
        window.setup.set_tables(tables)
        settle(context, 8)
    return window


def base_window(rows: str, **data: object) -> MainWindow:
    """Return the window at the Setup page with the Base model of SmolLM2 and rows of one of the samples."""
    context = offscreen_context()
    window = window_at("setup", context)
    tables = {
        "model": {"path": "/models/SmolLM2-135M"},
        "data": {"sources": [{"path": f"/data/{rows}"}], **data},
        "precision": {"name": "bf16-mixed"},
        "training": {"device": "cpu"},
    }
    real = actions.open_data

    def sample(source: DataSource, _model: object, *rest: Any) -> Any:
        """Read the sample instead, and without the model, whose tokenizer is not here."""
        return real(source.model_copy(update={"path": str(resource("samples", rows))}), None, *rest)

    with (
        patch.object(actions, "open_model", lambda path, _progress: scripted_setup.smollm2_base(path)),
        patch.object(actions, "open_data", sample),
        patch.object(actions, "try_model", lambda _info, _progress: scripted_setup.tried_base()),
        patch.object(device, "memory_of", lambda _device: (16 * scripted_setup.GB, 16 * scripted_setup.GB)),
        patch.object(job, "PAUSE_MILLISECONDS", 0),
    ):
        window.setup.set_tables(tables)
        settle(context, 8)
        window.setup.model.try_button.click()
        settle(context, 8)
    return window


def page_model_base_or_chat() -> QWidget:
    """A Base model that was tried, and two questions about what it is for."""
    window = base_window("fine-tuning-en.jsonl")
    advisor = window.setup.model.advisor
    advisor.open()
    advisor.manners.button("own").click()
    settle(window.context)
    return window


def page_model_chat_without_template() -> QWidget:
    """The same, to be treated as a Chat model: it has no template, and one can be installed."""
    window = base_window("fine-tuning-en.jsonl")
    window.setup.model.take({"model.kind": "chat"})
    settle(window.context)
    return window


def page_data_prompt_template() -> QWidget:
    """Conversations on a Base model: a remedy, and the template in which they are written otherwise."""
    template = "### Instruction:\n{question}\n\n### Response:\n{answer}"
    window = base_window("fine-tuning-en.jsonl", prompt_template=template)
    row = window.setup.data.form.rows["prompt_template"]
    settle(window.context)
    place = row.mapTo(window.setup.area.widget(), row.rect().topLeft()).y()
    window.setup.area.verticalScrollBar().setValue(place)
    return window


def page_data_misfit() -> QWidget:
    """The top of the Data card with the same rows."""
    window = base_window("fine-tuning-en.jsonl")
    window.setup.area.verticalScrollBar().setValue(window.setup.data.y())
    return window


def method_window(method: str, **options: object) -> MainWindow:
    """Return the window with the Method card at the top of what is seen."""
    window = setup_window({"name": method, **options})
    window.setup.area.verticalScrollBar().setValue(window.setup.method.y())
    return window


def page_method_lora() -> QWidget:
    """A method that merges."""
    return method_window("lora")


def page_method_layers() -> QWidget:
    """Layers of the model by name, the keyboard on one of them."""
    window = method_window("lora", target_modules=["q_proj", "v_proj"])
    layers = window.setup.method.form.rows["target_modules"].editor.list  # type: ignore[attr-defined]
    layers.setFocus()
    layers.setCurrentRow(2)
    return window


def page_method_full() -> QWidget:
    """The whole model is trained."""
    return method_window("full", freeze_layers=10)


def page_method_prompt_tuning() -> QWidget:
    """A method that cannot be merged: the card says so, and what can be exported."""
    return method_window("prompt-tuning")


def page_method_bottleneck_adapter() -> QWidget:
    """Another that cannot be merged, with an export of its own."""
    return method_window("bottleneck-adapter")


def page_method_wrong() -> QWidget:
    """An option that cannot be."""
    window = method_window("lora")
    window.setup.method.form.rows["rank"].editor.main.setText("1x")  # type: ignore[attr-defined]
    settle(window.context)
    return window


def opened(window: MainWindow, dialog: QDialog) -> QDialog:
    """Return a dialog that a window has opened, to be drawn without the window."""
    settle(window.context, 6)
    window.hide()
    dialog.setParent(None)
    window.setParent(dialog)
    dialog.show()
    return dialog


def page_method_comparison() -> QWidget:
    """Every method for SmolLM2, on a machine that is too small for the largest."""
    memory = 3 * scripted_setup.GB
    window = setup_window({"name": "lora"}, memory)
    with patch.object(device, "memory_of", lambda _device: (memory, memory)):
        window.setup.compare_methods()
        dialog = window.setup.findChild(MethodComparison)
        settle(window.context, 6)
    return opened(window, dialog)


@contextmanager
def on_card(gigabytes: float) -> Iterator[None]:
    """Let estimates be those of a graphics card of so many GB, of which nothing else is used."""
    place, estimate = gpu_of(gigabytes), actions.estimate

    def explain(config: RunConfig, info: ModelInfo) -> tuple[str, str]:
        found = plan(info, config, place)
        reasons = ["gpu_has_bf16", *storage_reasons(info, config, found)]
        return found.precision.name, reason_text(reasons, found.precision.name, found.base_dtype)

    with (
        patch.object(actions, "estimate", lambda info, config: estimate(info, config, place)),
        patch.object(actions, "explain_precision", explain),
        patch.object(job, "PAUSE_MILLISECONDS", 0),
    ):
        yield


def memory_window(gigabytes: float, *, take: int | None = None, **tables: dict[str, object]) -> MainWindow:
    """Return the window at the memory of a model of 7.6 B parameters on such a card; `take` one of the remedies."""
    context = offscreen_context()
    window = window_at("setup", context)
    setup, name = window.setup, "Qwen2-7B-Instruct"
    with tempfile.TemporaryDirectory() as place, on_card(gigabytes):
        folder = scripted_setup.write_big_model(Path(place) / name)
        setup.set_tables({"model": {"path": str(folder)}, **tables})
        settle(context, 12)
        if take is not None:
            setup.training.memory.remedies[take].click()
            settle(context, 12)
        setup.model.path.setText(f"/models/{name}")
    setup.area.verticalScrollBar().setValue(setup.training.y())
    return window


def page_memory_fits_24_gb() -> QWidget:
    """A model of 7.6 B parameters with the defaults, on a card of 24 GB."""
    return memory_window(24)


def page_memory_fits_8_gb() -> QWidget:
    """The same on a card of 8 GB: all that can be made smaller is."""
    return memory_window(8)


def page_memory_does_not_fit() -> QWidget:
    """Full fine-tuning of it on a card of 24 GB: what would fit, a button each."""
    return memory_window(24, method={"name": "full"}, training={"learning_rate": 2e-5})


def page_memory_not_enough() -> QWidget:
    """Long rows and a large rank on a card of 8 GB: some changes are enough and some are not."""
    return memory_window(8, data={"max_length": 8192}, method={"name": "lora", "rank": 64})


def page_memory_remedy_taken() -> QWidget:
    """The same once a remedy was taken, and a run with it has measured its memory."""
    window = memory_window(8, take=0, data={"max_length": 8192}, method={"name": "lora", "rank": 64})
    window.context.live = RunRecord()
    window.context.live.apply(
        MemoryMeasured(
            rows=1, length=4096, peak=7_300_000_000, available=8_000_000_000, micro_batch_tokens=4096, recompute=True
        )
    )
    window.context.progressed.emit()
    return window


def page_precision_probe() -> QWidget:
    """Every precision measured; the best is selected."""
    window = setup_window({"name": "lora"})
    tables = window.setup.tables() | {"data": {"sources": [{"path": "/data/train.jsonl"}]}}
    with patch.object(precision_probe, "probe", scripted_setup.probe_at_once):
        dialog = PrecisionProbe(window.context, parse_config(tables), window)
        dialog.open()
        settle(window.context, 6)
    return opened(window, dialog)


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


@contextmanager
def data_window(write: Callable[[Path], Path], template: str = "", **source: object) -> Iterator[MainWindow]:
    """Give the window with SmolLM2 and a dataset chosen, while the file is there and is read for real."""
    window = setup_window({"name": "lora"})
    folder = Path(tempfile.gettempdir()) / "repairs"  # the same in every picture, which shows it
    folder.mkdir(exist_ok=True)
    with scripted_data.small_tokenizer(template):
        file = write(folder / ("kundenfragen.csv" if write is scripted_data.write_repairs else "gespraeche.jsonl"))
        data = {"sources": [{"path": str(file), **source}], "max_length": 256}
        window.setup.data.set_values(data)
        settle(window.context, 8)
        window.setup.area.verticalScrollBar().setValue(window.setup.data.y())
        yield window


REPAIRS = {"columns": {"prompt": "Was der Kunde fragt", "completion": "Unsere Antwort (final)"}}


def page_columns() -> QWidget:
    """Which column of a file with odd headers holds what, beside the rows as the model reads them."""
    with data_window(scripted_data.write_repairs, **REPAIRS) as window:
        return window


def page_hub_dataset() -> QWidget:
    """A dataset of the hub, with its subset and split."""
    window = window_at("setup", offscreen_context())
    window.setup.data.ask_hub()
    dialog = window.setup.findChild(HubDataset)
    dialog.id.setText("openai/gsm8k")
    dialog.subset.setText("main")
    return opened(window, dialog)


def page_columns_asked() -> QWidget:
    """A file whose columns fit no known format: the user says which holds what."""
    with data_window(scripted_data.write_repairs) as window:
        return window


def page_data_system_text() -> QWidget:
    """Conversations with a system text for a template that refuses it, and what mends that."""
    with data_window(scripted_data.write_with_system, scripted_data.NO_SYSTEM) as window:
        return window


def page_data_system_moved() -> QWidget:
    """The same once the system text is a part of the question."""
    with data_window(scripted_data.write_with_system, scripted_data.NO_SYSTEM) as window:
        window.setup.data.system.buttons[0].click()
        settle(window.context, 8)
        window.setup.data.sources[0]._disclosure.open()
        settle(window.context)
        return window


def page_mixing() -> QWidget:
    """Domain and general rows in blocks: what each choice means in rows and tokens an epoch."""
    with data_window(scripted_data.write_repairs, **REPAIRS) as window:
        data = window.setup.data
        general = Path(data.sources[0].path).with_name("general-en.jsonl")
        shutil.copy(resource("samples", general.name), general)
        sources = [data.sources[0].values(), {"path": str(general), "role": "general"}]
        data.set_values(data.values() | {"sources": sources, "replay_ratio": 0.2, "mixing": "blocks"})
        settle(window.context, 8)
        row = data.form.rows["replay_ratio"]
        place = row.mapTo(window.setup.area.widget(), row.rect().topLeft()).y()
        window.setup.area.verticalScrollBar().setValue(place - 400)
        return window


def xray_window(act: Callable[[XRayDialog], None]) -> QWidget:
    """Return the X-ray of a dataset after something was done in it."""
    with data_window(scripted_data.write_repairs, **REPAIRS) as window:
        window.setup.data.sources[0].open_xray()
        settle(window.context, 8)
        dialog = window.setup.data.sources[0].xray
        act(dialog)
        settle(window.context, 8)
        return opened(window, dialog)


def page_xray() -> QWidget:
    """Every row of a dataset as the model will see it."""
    return xray_window(lambda dialog: None)


def page_xray_found() -> QWidget:
    """The rows in which a text was found."""

    def search(dialog: XRayDialog) -> None:
        dialog.search.setText("squeaks")
        dialog.search.returnPressed.emit()

    return xray_window(search)


def page_xray_skipped() -> QWidget:
    """The rows that are skipped, with the reason of each."""
    return xray_window(lambda dialog: dialog.shown.set_value("skipped"))


def page_xray_longest() -> QWidget:
    """The longest row, alone on its page."""

    def choose(dialog: XRayDialog) -> None:
        dialog.rows_a_page.set_value("1")
        dialog.shown.set_value("longest")

    return xray_window(choose)


def page_train() -> QWidget:
    """A run in the middle."""
    return train_window(scripted_record(with_retention(scripted_events())[:-2]), live=True)


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
    sentence = "The loss is not a number since step 140; row 17 of train.jsonl has an empty answer: remove it."
    record.apply(RunFailed(step=146, sentence=sentence))
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


def page_numerics_empty() -> QWidget:
    """Before any run."""
    return window_at("numerics", offscreen_context())


def page_runs() -> QWidget:
    """Past runs."""
    context = offscreen_context()
    scripted_runs(context.runs_root)
    return window_at("runs", context)


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


def export_window(*exports: bool) -> MainWindow:
    """Return the window at the Export page of a run with exports that passed or failed, the last one newest."""
    context = offscreen_context()
    run = scripted_runs(context.runs_root)[0]
    for number, good in enumerate(exports):
        scripted_certificate(run, f"merged-{number}", good, START + 100 * number)
    context.record = RunRecord(run)
    return window_at("export", context)


def page_export() -> QWidget:
    """A certificate that passed."""
    return export_window(False, True)


def page_export_latency() -> QWidget:
    """What the result costs in use, once it was measured."""
    window = export_window(True)
    page = window.pages["export"]
    page.latency._show(scripted_latency())
    area = page.findChild(QScrollArea)
    QApplication.processEvents()
    area.ensureWidgetVisible(page.latency)
    return window


def page_export_gguf() -> QWidget:
    """A GGUF file about to be chosen, its sizes known, and what the formats cost so far."""
    context = offscreen_context()
    run = scripted_runs(context.runs_root)[0]
    scripted_gguf(run)
    context.record = RunRecord(run)
    window = window_at("export", context)
    form = window.pages["export"].form
    form.cards["gguf"].setChecked(True)
    sizes = {name: size for name, size, *_ in GGUF_FIGURES}
    form.set_gguf(actions.GgufChoices(sizes=sizes, no_k_quants=""))
    form.dtype.set_value("q8_0")
    QApplication.processEvents()
    window.pages["export"].findChild(QScrollArea).ensureWidgetVisible(form.button)
    return window


def page_export_ollama() -> QWidget:
    """A model created in Ollama, and its answer."""
    context = offscreen_context()
    run = scripted_runs(context.runs_root)[0]
    scripted_gguf(run, "ollama")
    context.record = RunRecord(run)
    window = window_at("export", context)
    page = window.pages["export"]
    page.ollama._search.drop()
    asked = "What is the capital of France?"
    page.ollama.set_summary("version 0.99")
    page.ollama._show(SimpleNamespace(name="smollm2-tuned", asked=asked, answer="Paris", expected="Paris", same=True))
    QApplication.processEvents()
    page.findChild(QScrollArea).ensureWidgetVisible(page.ollama)
    return window


def page_export_failed() -> QWidget:
    """A certificate that did not pass."""
    return export_window(False)


def page_export_empty() -> QWidget:
    """Before any run has ended."""
    return window_at("export", offscreen_context())


def page_export_busy() -> QWidget:
    """While an export is under way."""
    window = export_window()
    form = window.pages["export"].form
    form.progress.report("verifying", 12, 30)
    form.set_busy("An export is under way.")
    return window


def save(widget: QWidget, path: Path) -> None:
    """Let the layout settle, draw, and write one picture."""
    app = theme.application()
    for _ in range(6):
        app.processEvents()
    widget.grab().save(str(path))
    print(path)


def main(arguments: list[str]) -> None:
    suffix = "-small" if "--small" in arguments else ""
    arguments = [argument for argument in arguments if argument != "--small"]
    out = Path(arguments[0] if arguments else "docs/screenshots")
    out.mkdir(parents=True, exist_ok=True)
    wanted = arguments[1:]
    from tests.screenshots import continuing_pages  # which is made with what stands here

    found = globals() | vars(continuing_pages)
    pages = {name.removeprefix("page_"): make for name, make in found.items() if name.startswith("page_")}
    app = QApplication([])
    app.setFont(interface_font())
    theme.install(app, "light")
    for name in wanted or pages:
        for shade in theme.CHOICES[1:]:
            theme.choose(shade)
            widget = pages[name]()
            save(widget, out / f"{name.replace('_', '-')}-{shade}{suffix}.png")
            widget.hide()
            widget.deleteLater()
            # Without an event loop of its own Qt keeps what is to be deleted, and repaints all of it at each new theme.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


if __name__ == "__main__":
    main(sys.argv[1:])
