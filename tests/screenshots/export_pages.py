"""Pictures of the Export page. `render.py` draws them."""

from __future__ import annotations

from types import SimpleNamespace

from PySide6.QtWidgets import QApplication, QScrollArea, QWidget

from studio.i18n import tr
from studio.runner import actions
from studio.runner.record import RunRecord
from studio.ui.dialogs.hub.push import PushDialog
from studio.ui.main_window import MainWindow
from tests.screenshots.scripted import (
    GGUF_FIGURES,
    START,
    scripted_certificate,
    scripted_gguf,
    scripted_latency,
    scripted_runs,
)
from tests.screenshots.windows import (
    offscreen_context,
    opened,
    window_at,
)


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


def page_export_push() -> QWidget:
    """An export that passed, about to be sent to the hub."""
    window = export_window(True)
    certificate = window.pages["export"].certificate
    certificate.push.click()
    dialog = certificate.findChild(PushDialog)
    dialog.repository.setText("my-name/kundendienst-smollm2")
    return opened(window, dialog)


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
    page.ollama.set_summary(tr("version {version}").format(version="0.99"))
    page.ollama._show(SimpleNamespace(name="smollm2-tuned", asked=asked, answer="Paris", expected="Paris", same=True))
    QApplication.processEvents()
    page.findChild(QScrollArea).ensureWidgetVisible(page.ollama)
    return window


def page_export_checking() -> QWidget:
    """While an export is checked again."""
    window = export_window(True)
    certificate = window.pages["export"].certificate
    certificate.progress.report("verifying", 12, 30)
    certificate.again.setEnabled(False)
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
    form.set_busy(tr("An export is under way."))
    return window
