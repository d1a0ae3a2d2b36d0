"""Pictures of the Data card and of the X-ray, with real files that are read for real. `render.py` draws them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtWidgets import QWidget

from studio.paths import resource
from studio.ui.dialogs.hub.dataset import HubDataset
from studio.ui.dialogs.xray.dialog import XRayDialog
from studio.ui.main_window import MainWindow
from tests.screenshots import scripted_data
from tests.screenshots.setup_pages import setup_window
from tests.screenshots.windows import (
    offscreen_context,
    opened,
    settle,
    window_at,
)


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
