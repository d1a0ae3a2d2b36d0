"""`search` and `download`, against a hub on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.engine.estimate.unseen import Outlook
from studio.engine.hub import download
from studio.engine.hub.folders import folder_of, list_unfinished
from studio.engine.hub.transfer import Patience
from studio.runner import actions
from studio.runner.actions import Found
from tests.hub import Fault, LocalHub, local_hub
from tests.modelscope import local_modelscope

Command = Callable[..., Any]
MODEL = "own/chat"
REPOSITORIES = {MODEL: {"config.json": b"{}", "model.safetensors": bytes(50_000)}}
FOUND = [
    Found(id=MODEL, parameters=362_000_000, bytes=726_000_000, licence="mit", downloads=1234, updated="2026-03-04"),
    Found(id="own/gated", gated=True),
]
FITS = Outlook(
    fits=True, method="lora", precision="bf16-mixed", base_dtype="nf4", total_bytes=3 << 30, available_bytes=8 << 30
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr(download, "PATIENCE", Patience(silence=1.0, pauses=(0.01,)))
    with local_hub(REPOSITORIES, tmp_path, monkeypatch) as found:
        yield found


def test_search_lists_models_and_which_of_them_fit(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def outlooks(models: list[Found], tell: Callable[[str, Outlook], None], _: Any) -> None:
        for model, outlook in zip(models, (FITS, Outlook(problem="It is gated.")), strict=True):
            tell(model.id, outlook)

    asked: list[tuple[str, str, int]] = []
    monkeypatch.setattr(actions, "search_hub", lambda *given: asked.append(given[:3]) or FOUND)
    monkeypatch.setattr(actions, "outlooks", outlooks)
    chat, gated = command("search", "small", "chat", "--limit", "2", "--json").json["results"]
    assert asked == [("small chat", "model", 2)]
    assert (chat["id"], chat["bytes"], chat["licence"], chat["gated"]) == (MODEL, 726_000_000, "mit", False)
    assert (chat["outlook"]["fits"], chat["outlook"]["method"], chat["outlook"]["base_dtype"]) == (True, "lora", "nf4")
    assert (gated["gated"], gated["outlook"]["problem"]) == (True, "It is gated.")
    lines = command("search", "chat").out.splitlines()
    assert "362 M" in lines[1]
    assert lines[1].endswith("2026-03-04  LoRA, bf16-mixed over nf4, 3 GB")
    assert lines[2].endswith("Cannot be trained here")
    assert lines[-1] == "own/gated: It is gated."
    assert "Public" in lines[1]
    assert "Terms to accept" in lines[2]


def test_a_quick_search_computes_nothing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "search_hub", lambda *_: FOUND)
    assert [one["outlook"] for one in command("search", "--quick", "--json").json["results"]] == [None, None]


def test_nothing_found_is_said_and_is_no_failure(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "search_hub", lambda *_: [])
    assert command("search", "xyz").out == "Nothing was found.\n"
    assert command("search", "xyz").status == 0


@pytest.mark.usefixtures("hub")
def test_download_prints_the_folder(command: Command) -> None:
    answer = command("download", MODEL, "--json")
    assert answer.json == {"path": str(folder_of(MODEL))}
    assert (folder_of(MODEL) / "model.safetensors").stat().st_size == 50_000


def test_a_download_that_fails_is_one_sentence_and_the_next_goes_on(command: Command, hub: LocalHub) -> None:
    hub.faults["model.safetensors"] = [Fault("drop", 30_000), Fault("status", 403)]
    answer = command("download", MODEL)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines()[-1].startswith(f"The model {MODEL} cannot be downloaded: ")
    assert command("download", f"{hub.address}/{MODEL}").status == 0
    assert hub.ranges[-1] == ("model.safetensors", "bytes=30000-")


def test_models_are_searched_and_downloaded_from_the_hub_that_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with local_modelscope(REPOSITORIES, tmp_path, monkeypatch) as hub:
        monkeypatch.setenv("FINETUNE_STUDIO_HUB", "")
        hub.facts[MODEL] = {"license": "mit", "downloads": 1234}
        (found,) = command("search", "chat", "--from", "modelscope", "--quick", "--json").json["results"]
        assert (found["id"], found["licence"], found["downloads"]) == (MODEL, "mit", 1234)
        monkeypatch.setenv("FINETUNE_STUDIO_HUB", "")
        assert command("download", MODEL, "--from", "modelscope").status == 0
        assert (folder_of(MODEL) / "model.safetensors").stat().st_size == 50_000


def test_what_a_download_has_left_can_be_discarded(command: Command, hub: LocalHub) -> None:
    hub.faults["model.safetensors"] = [Fault("drop", 30_000), Fault("status", 403)]
    command("download", MODEL)
    assert command("download", MODEL, "--discard").status == 0
    assert list_unfinished() == {}
