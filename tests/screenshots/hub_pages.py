"""Pictures of the search of the hub, with answers as a hub gives them. `render.py` draws them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from PySide6.QtWidgets import QDialog, QWidget

from studio.engine.estimate.unseen import Outlook
from studio.engine.hub import address
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import Found
from studio.ui.dialogs.hub.dataset import HubDataset
from studio.ui.dialogs.hub.search import FindOnHub
from tests.screenshots.windows import offscreen_context, opened, settle, window_at

_GB, _MB = 1 << 30, 1 << 20
_B = 1_000_000_000
_FREE = 21 * _GB


def _fits(method: str, gigabytes: float, base_dtype: str = "bf16") -> Outlook:
    return Outlook(
        fits=gigabytes * _GB < _FREE,
        method=method,
        precision="bf16-mixed",
        base_dtype=base_dtype,
        total_bytes=int(gigabytes * _GB),
        available_bytes=_FREE,
    )


def _gated(repository: str) -> Outlook:
    words = tr("{repository} is gated: accept its terms on {page}, and save the token of that account here")
    reason = words.format(repository=repository, page=f"https://huggingface.co/{repository}")
    return Outlook(unknown=tr("Whether it can be trained here is not known: {reason}.").format(reason=reason))


def _quantised(repository: str) -> Outlook:
    words = tr("{model} is stored quantised; choose its original, unquantised version.")
    return Outlook(problem=words.format(model=repository))


def found() -> dict[Found, Outlook]:
    """Return models, with what training them takes."""
    return {
        Found(id="Qwen/Qwen3-0.6B", parameters=751_632_384, bytes=1_503_264_768, licence="apache-2.0", downloads=8_120_455, updated="2026-07-26"): _fits("full", 13.2),
        Found(id="Qwen/Qwen3-4B-Instruct-2507", parameters=int(4.02 * _B), bytes=int(8.04 * _B), licence="apache-2.0", downloads=5_307_118, updated="2026-09-17"): _fits("lora", 12.4),
        Found(id="meta-llama/Llama-3.1-8B-Instruct", parameters=int(8.03 * _B), bytes=int(16.06 * _B), licence="llama3.1", gated=True, downloads=4_218_004, updated="2026-09-25"): _gated("meta-llama/Llama-3.1-8B-Instruct"),
        Found(id="mistralai/Mistral-7B-Instruct-v0.3", parameters=int(7.25 * _B), bytes=int(14.5 * _B), licence="apache-2.0", downloads=1_902_377, updated="2026-07-24"): _fits("lora", 9.8, "nf4"),
        Found(id="unsloth/Qwen3-14B-AWQ-Int4-mixed-calibration", parameters=int(3.2 * _B), bytes=int(9.9 * _B), licence="apache-2.0", downloads=88_310, updated="2026-05-02"): _quantised("unsloth/Qwen3-14B-AWQ-Int4-mixed-calibration"),
        Found(id="HuggingFaceTB/SmolLM2-1.7B-Instruct", parameters=int(1.71 * _B), bytes=int(3.42 * _B), licence="apache-2.0", downloads=71_209, updated="2026-04-21"): _fits("lora", 7.1),
        Found(id="allenai/OLMo-2-0325-32B-Instruct", parameters=int(32.2 * _B), bytes=int(64.4 * _B), licence="apache-2.0", downloads=12_441, updated="2026-03-13"): _fits("lora", 29.5, "nf4"),
        Found(id="someone/merged-7b-experiment", downloads=37, updated="2026-01-08"): _fits("lora", 9.7, "nf4"),
    }  # fmt: skip


_UNFINISHED = {"mistralai/Mistral-7B-Instruct-v0.3": 4500 * _MB}
DATASETS = [
    Found(id="openai/gsm8k", rows="10K<n<100K", licence="mit", downloads=612_990, updated="2026-01-04"),
    Found(id="databricks/databricks-dolly-15k", rows="10K<n<100K", licence="cc-by-sa-3.0", downloads=25_017, updated="2023-06-30"),
    Found(id="someone/private-dialogues", rows="1K<n<10K", gated=True, downloads=311, updated="2026-10-11"),
]  # fmt: skip


def _tell(models: Iterable[Found], tell: Callable[[str, Outlook], None], _: object) -> None:
    outlooks = found()
    for model in models:
        tell(model.id, outlooks[model])


@contextmanager
def _answers() -> Iterator[None]:
    with (
        patch.object(actions, "search_hub", lambda _, kind, **__: list(found()) if kind == "model" else DATASETS),
        patch.object(actions, "outlooks", _tell),
        patch.object(actions, "list_downloaded", lambda: ["HuggingFaceTB/SmolLM2-1.7B-Instruct"]),
        patch.object(actions, "list_unfinished", lambda: _UNFINISHED),
        patch.object(address, "find_spec", lambda _: None),
        patch.object(sys, "executable", "/opt/finetune-studio/bin/python"),
    ):
        yield


def _searched(words: str, row: int, *, settings: bool = False) -> QDialog:
    """Return the dialog after a search, with a row selected."""
    window = window_at("setup", offscreen_context())
    window.setup.model.find_on_hub()
    dialog = window.setup.findChild(FindOnHub)
    settle(window.context)
    dialog.words.setText(words)
    if words:
        dialog.search()
    settle(window.context, 6)
    dialog.table.selectRow(row)
    if settings:
        dialog.hub.open()
    return opened(window, dialog)


def page_find_model() -> QWidget:
    """Models that were found, and which of them can be trained here."""
    with _answers():
        return _searched("instruct", 1)


def page_find_model_gated() -> QWidget:
    """A model whose terms have to be accepted, and where the token is kept."""
    with _answers():
        return _searched("instruct", 2, settings=True)


def page_find_model_here() -> QWidget:
    """Without words: what is on this computer, and a download that was broken off."""
    with _answers():
        return _searched("", 1)


def page_find_model_downloading() -> QWidget:
    """A download under way."""
    with _answers():
        dialog = _searched("instruct", 3)
    assert isinstance(dialog, FindOnHub)
    with patch("time.monotonic", iter([0.0, 30.0]).__next__):
        dialog.progress.report("downloading", 4500 * _MB, 14_500_000_000)
        dialog.progress.report("downloading", 5200 * _MB, 14_500_000_000)
    dialog.use.setEnabled(False)
    dialog.remove.hide()
    dialog.verdict.set("")
    return dialog


def page_find_dataset() -> QWidget:
    """Datasets that were found."""
    with _answers():
        window = window_at("setup", offscreen_context())
        window.setup.data.ask_hub()
        asking = window.setup.findChild(HubDataset)
        asking.search_button.click()
        dialog = asking.findChild(FindOnHub)
        settle(window.context)
        dialog.words.setText("dialogues")
        dialog.search()
        settle(window.context, 6)
        return opened(window, dialog)
