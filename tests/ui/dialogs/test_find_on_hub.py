"""Finding a model on the hub: what is found, what fits, and a download that can be cancelled and gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.engine.estimate.unseen import Outlook
from studio.engine.hub import download
from studio.engine.hub.folders import folder_of
from studio.engine.hub.transfer import Patience
from studio.errors import ConfigError, ModelError
from studio.runner import actions
from studio.runner.actions import Found
from studio.ui.app import use_hubs
from studio.ui.dialogs.hub.dataset import HubDataset
from studio.ui.dialogs.hub.search import FindOnHub
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.hub import Fault, LocalHub, local_hub
from tests.ui.fakes import answered

SMALL, LARGE, QUANTISED, GATED = (Found(id=f"own/{name}") for name in ("small", "large", "awq", "gated"))
FIT = {"precision": "bf16-mixed", "base_dtype": "bf16", "available_bytes": 8 << 30}
OUTLOOKS = {
    SMALL: Outlook(fits=True, method="full", total_bytes=2 << 30, **FIT),  # type: ignore[arg-type]
    LARGE: Outlook(method="lora", total_bytes=30 << 30, **FIT),  # type: ignore[arg-type]
    QUANTISED: Outlook(problem="own/awq is stored quantised."),
    GATED: Outlook(unknown="own/gated is gated."),
}
FILES = {"config.json": b"{}", "model.safetensors": bytes(900_000)}
HALF = 400_000


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The hub finds four models; what it was asked for."""
    asked: list[tuple[str, str]] = []

    def outlooks(models: list[Found], tell: Callable[[str, Outlook], None], _: Any) -> None:
        for model in models:
            tell(model.id, OUTLOOKS[model])

    monkeypatch.setattr(actions, "search_hub", lambda words, kind, **_: asked.append((words, kind)) or list(OUTLOOKS))
    monkeypatch.setattr(actions, "outlooks", outlooks)
    return asked


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr(download, "PATIENCE", Patience(silence=30.0, pauses=(0.01,)))
    with local_hub({"own/small": FILES}, tmp_path, monkeypatch) as found:
        yield found


def opened(window: MainWindow, qtbot: QtBot) -> FindOnHub:
    qtbot.mouseClick(window.setup.model.search_button, Qt.MouseButton.LeftButton)
    dialog = window.setup.findChild(FindOnHub)
    assert isinstance(dialog, FindOnHub)
    qtbot.waitUntil(lambda: answered(dialog))
    return dialog


def searched(window: MainWindow, qtbot: QtBot, words: str = "instruct") -> FindOnHub:
    dialog = opened(window, qtbot)
    qtbot.keyClicks(dialog.words, words)
    qtbot.keyClick(dialog.words, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: answered(dialog))
    return dialog


def last_cells(dialog: FindOnHub) -> list[str]:
    column = len(dialog.model.columns) - 1
    return [dialog.model.index(row, column).data() for row in range(dialog.model.rowCount())]


def test_enter_searches_and_says_what_fits(answers: list[tuple[str, str]], window: MainWindow, qtbot: QtBot) -> None:
    dialog = searched(window, qtbot)
    assert answers == [("instruct", "model")]
    assert dialog.isVisible()  # Enter did not take the row
    cells = last_cells(dialog)
    assert cells == [
        "Full fine-tuning, bf16-mixed, 2 GB",
        "Too large: needs 30 GB",
        "Cannot be trained here",
        "Not known",
    ]
    assert (
        dialog.verdict.text == "It can be trained here: Full fine-tuning, bf16-mixed, 2 GB of the 8 GB that are free."
    )
    assert window.context.settings.recent_searches == ("instruct",)
    dialog.reject()


@pytest.mark.usefixtures("answers")
def test_a_model_that_can_never_be_trained_is_not_offered_with_the_reason(window: MainWindow, qtbot: QtBot) -> None:
    dialog = searched(window, qtbot)
    enabled = []
    for row in range(4):
        dialog.table.selectRow(row)
        enabled.append(dialog.use.isEnabled())
    assert enabled == [True, True, False, True]
    dialog.table.selectRow(2)
    assert dialog.use.toolTip() == dialog.verdict.text == "own/awq is stored quantised."
    dialog.reject()


@pytest.mark.usefixtures("answers")
def test_a_download_is_cancelled_gone_on_with_and_chosen(hub: LocalHub, window: MainWindow, qtbot: QtBot) -> None:
    hub.faults["model.safetensors"] = [Fault("stall", HALF)]
    dialog = searched(window, qtbot)
    qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.progress.bar.value() > 100, timeout=30_000)
    assert not dialog.use.isEnabled()
    qtbot.mouseClick(dialog.progress.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.use.accessibleName() == "Go on with the download", timeout=10_000)
    assert "391 KB of it are here; a download goes on from there." in dialog.verdict.text
    with qtbot.waitSignal(dialog.taken, timeout=30_000) as taken:
        qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    assert taken.args == ["own/small"]
    assert window.setup.model.path.text() == "own/small"
    assert [asked for name, asked in hub.ranges if name == "model.safetensors"] == ["", f"bytes={HALF}-"]
    assert (folder_of("own/small") / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.usefixtures("answers")
def test_without_words_it_lists_what_is_here_and_removes_what_is_not_wanted(
    hub: LocalHub, window: MainWindow, qtbot: QtBot
) -> None:
    hub.faults["model.safetensors"] = [Fault("drop", HALF), Fault("status", 403)]
    with pytest.raises(ModelError):
        actions.download("own/small")
    dialog = opened(window, qtbot)
    assert last_cells(dialog) == ["391 KB received"]
    qtbot.mouseClick(dialog.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: answered(dialog))
    assert dialog.model.rowCount() == 0
    assert dialog.verdict.text == "Type a few words and press Enter."
    dialog.reject()


def test_a_hub_that_cannot_be_asked_is_a_sentence_and_the_dialog_stays_usable(
    monkeypatch: pytest.MonkeyPatch, window: MainWindow, qtbot: QtBot
) -> None:
    def refuse(*_: object, **__: object) -> list[Found]:
        raise ModelError("The hub cannot be searched: HF_HUB_OFFLINE is set.")

    monkeypatch.setattr(actions, "search_hub", refuse)
    dialog = searched(window, qtbot)
    assert dialog.verdict.text == "The hub cannot be searched: HF_HUB_OFFLINE is set."
    assert dialog.verdict.level == "bad"
    assert dialog.words.isEnabled()
    dialog.reject()


def test_another_hub_is_asked_from_now_on_and_remembered(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, str]], window: MainWindow, qtbot: QtBot
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    dialog = searched(window, qtbot)
    dialog.hub.open()
    qtbot.keyClicks(dialog.hub.address, "ftp://hub")
    qtbot.keyClick(dialog.hub.address, Qt.Key.Key_Return)
    assert (dialog.hub.verdict.level, "HF_ENDPOINT" in os.environ) == ("bad", False)
    dialog.hub.address.clear()
    qtbot.keyClicks(dialog.hub.address, "hf-mirror.com/")
    qtbot.keyClick(dialog.hub.address, Qt.Key.Key_Return)
    assert os.environ["HF_ENDPOINT"] == "https://hf-mirror.com"
    assert window.context.settings.hub_address("huggingface") == "https://hf-mirror.com"
    qtbot.waitUntil(lambda: answered(dialog))
    assert answers[-1] == ("instruct", "model")  # asked anew
    dialog.hub.address.clear()
    qtbot.mouseClick(dialog.hub.use, Qt.MouseButton.LeftButton)
    assert "HF_ENDPOINT" not in os.environ
    dialog.reject()


def test_models_come_from_modelscope_from_now_on(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, str]], window: MainWindow, qtbot: QtBot
) -> None:
    monkeypatch.setattr("studio.engine.hub.address.find_spec", lambda _: True)
    monkeypatch.setenv("FINETUNE_STUDIO_HUB", "huggingface")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "")
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com")
    saved: list[tuple[str, str]] = []
    monkeypatch.setattr(actions, "save_token", lambda token, hub: saved.append((token, hub.name)))
    dialog = searched(window, qtbot)
    dialog.hub.open()
    assert dialog.hub.missing.isHidden()
    qtbot.keyClick(dialog.hub.hub, Qt.Key.Key_Down)
    assert os.environ["FINETUNE_STUDIO_HUB"] == window.context.settings.models_from == "modelscope"
    assert dialog.hub.address.placeholderText() == "https://modelscope.cn"
    qtbot.waitUntil(lambda: answered(dialog))
    assert answers == [("instruct", "model")] * 2  # asked anew
    qtbot.keyClicks(dialog.hub.address, "www.modelscope.ai")
    qtbot.keyClick(dialog.hub.address, Qt.Key.Key_Return)
    assert os.environ["MODELSCOPE_ENDPOINT"] == "https://www.modelscope.ai"
    assert os.environ["HF_ENDPOINT"] == "https://hf-mirror.com"
    assert "www.modelscope.ai is asked" in dialog.hub.verdict.text
    qtbot.keyClicks(dialog.hub.token, "ms-secret")
    qtbot.keyClick(dialog.hub.token, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(saved))
    assert saved == [("ms-secret", "modelscope")]
    qtbot.waitUntil(lambda: answered(dialog))
    dialog.reject()


def test_modelscope_without_its_library_is_switched_off_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, window: MainWindow, qtbot: QtBot
) -> None:
    monkeypatch.setattr("studio.engine.hub.address.find_spec", lambda _: None)
    monkeypatch.setenv("FINETUNE_STUDIO_HUB", "huggingface")
    dialog = opened(window, qtbot)
    dialog.hub.open()
    assert dialog.hub.missing.isVisible()
    assert dialog.hub.missing.text().endswith("-m pip install modelscope-hub")
    qtbot.keyClick(dialog.hub.hub, Qt.Key.Key_Down)
    assert dialog.hub.hub.value() == "huggingface"
    dialog.reject()


def test_what_was_chosen_is_asked_when_the_window_opens_again(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    for variable in ("FINETUNE_STUDIO_HUB", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(variable, "")
    settings.models_from = "modelscope"
    settings.remember_hub_address("modelscope", "https://www.modelscope.ai")
    use_hubs(settings)
    assert (actions.hub_of("model").name, actions.hub_of("model").address()) == (
        "modelscope",
        "https://www.modelscope.ai",
    )
    assert actions.hub_of("dataset").name == "huggingface"


def test_a_token_goes_to_the_keyring_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, window: MainWindow, qtbot: QtBot
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(actions, "save_token", lambda token, _: saved.append(token))
    dialog = opened(window, qtbot)
    dialog.hub.open()
    qtbot.keyClicks(dialog.hub.token, "hf_secret")
    assert "hf_secret" not in dialog.hub.token.displayText()
    qtbot.keyClick(dialog.hub.token, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.hub.verdict.level == "good")
    assert (saved, dialog.hub.token.text()) == (["hf_secret"], "")
    window.context.settings.save()
    settings = Path(window.context.settings._store.fileName())
    assert not settings.exists() or "hf_secret" not in settings.read_text(encoding="utf-8")

    def refuse(*_: object) -> None:
        raise ConfigError("This computer has no keyring that can keep the token.")

    monkeypatch.setattr(actions, "save_token", refuse)
    qtbot.keyClicks(dialog.hub.token, "x")
    qtbot.mouseClick(dialog.hub.keep, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.hub.verdict.level == "bad")
    dialog.reject()


def test_a_dataset_that_was_found_is_the_id_of_the_dataset_dialog(
    monkeypatch: pytest.MonkeyPatch, window: MainWindow, qtbot: QtBot
) -> None:
    monkeypatch.setattr(actions, "search_hub", lambda *_, **__: [Found(id="own/rows", rows="1K<n<10K")])
    window.setup.data.ask_hub()
    asking = window.setup.findChild(HubDataset)
    assert isinstance(asking, HubDataset)
    qtbot.mouseClick(asking.search_button, Qt.MouseButton.LeftButton)
    dialog = asking.findChild(FindOnHub)
    assert isinstance(dialog, FindOnHub)
    assert dialog.width() > asking.width()  # as wide as over the window itself
    qtbot.keyClicks(dialog.words, "rows")
    qtbot.keyClick(dialog.words, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.use.isEnabled())
    qtbot.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    assert asking.id.text() == "own/rows"
    assert asking.add.isEnabled()
    asking.reject()


@pytest.mark.parametrize(
    ("typed", "offered"), [("own/model", True), ("/no/such/model", False), ("C:\\models\\x", False)]
)
def test_a_path_that_does_not_exist_is_not_offered_as_a_hub_id(
    window: MainWindow, qtbot: QtBot, typed: str, offered: bool
) -> None:
    card = window.setup.model
    card.path.clear()
    qtbot.keyClicks(card.path, typed)
    qtbot.waitUntil(lambda: card._path_kind is not None)
    assert card._fetch.isVisibleTo(card) is offered
    assert ("Press Enter" in card.problem()) is offered
    assert (f"There is no model at {typed}" in card.problem()) is not offered
