"""Pictures of the Setup page: model, method, memory and precision. `render.py` draws them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PySide6.QtWidgets import QWidget

from studio.config import DataSource, RunConfig, parse_config
from studio.engine import device
from studio.engine.estimate.plan import gpu_of, plan, storage_reasons
from studio.engine.models.info import ModelInfo
from studio.engine.precision.choose import reason_text
from studio.events import MemoryMeasured
from studio.i18n import tr
from studio.paths import resource
from studio.runner import actions
from studio.runner.record import RunRecord
from studio.torch_build import UnusedCard
from studio.ui import job
from studio.ui.dialogs import precision_probe
from studio.ui.dialogs.method_comparison import MethodComparison
from studio.ui.dialogs.precision_probe import PrecisionProbe
from studio.ui.dialogs.presets import PresetsDialog
from studio.ui.main_window import MainWindow
from tests.screenshots import scripted_setup
from tests.screenshots.windows import (
    offscreen_context,
    opened,
    settle,
    window_at,
)


def page_setup() -> QWidget:
    """The first sight of the window."""
    return window_at("setup", offscreen_context())


def page_setup_unused_card() -> QWidget:
    """A card that the installed torch cannot use, and the command that mends it."""
    index = "https://download.pytorch.org/whl/cu130"
    reason = tr("the installed torch ({version}+{tag}) cannot use it, and the {build} build can")
    card = UnusedCard(
        "NVIDIA GeForce RTX 4070",
        reason.format(version="2.13.0", tag="cpu", build="CUDA 13.0"),
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
        patch.object(actions, "estimate", lambda info, config, processes=1: estimate(info, config, place)),
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


def page_presets() -> QWidget:
    """What a preset would change, before it is applied."""
    window = setup_window({"name": "lora"})
    window.setup.data.add({"path": str(resource("samples", "fine-tuning-en.jsonl"))})
    window.setup.choose_preset()
    dialog = window.setup.findChild(PresetsDialog)
    assert dialog is not None
    dialog.list.setCurrentRow(2)
    return opened(window, dialog)


def page_precision_probe() -> QWidget:
    """Every precision measured; the best is selected."""
    window = setup_window({"name": "lora"})
    tables = window.setup.tables() | {"data": {"sources": [{"path": "/data/train.jsonl"}]}}
    with patch.object(precision_probe, "probe", scripted_setup.probe_at_once):
        dialog = PrecisionProbe(window.context, parse_config(tables), window)
        dialog.open()
        settle(window.context, 6)
    return opened(window, dialog)


def page_drop() -> QWidget:
    """A model folder and a dataset file over the window."""
    window = window_at("setup", offscreen_context())
    window.overlay.show_words(tr("Take {name} as the model").format(name="SmolLM2-135M-Instruct"))
    return window
