"""The hub path, against a small hub of our own on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.engine.hub.download import download_into
from studio.engine.hub.folders import ORIGIN
from studio.engine.models import starter
from studio.engine.models.find import resolve_model
from studio.errors import Cancelled, ModelError
from tests.hub import local_hub

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(300_000),
    "modeling_own.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickle",
    "onnx/config.json": b"{}",
}
REPOSITORIES = {"own/model": FILES, "own/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The paths that are asked of the hub."""
    with local_hub(REPOSITORIES, tmp_path, monkeypatch) as found:
        yield found.requests


@pytest.mark.usefixtures("hub")
def test_a_model_is_downloaded_without_code_and_without_pickles() -> None:
    folder = resolve_model("own/model")
    assert sorted(path.name for path in folder.iterdir() if path.name != ORIGIN) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_downloaded_model_is_found_again_without_the_hub(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resolve_model("own/model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.clear()
    assert resolve_model("own/model") == folder
    assert hub == []


def test_nothing_but_the_model_is_asked_of_the_hub(hub: list[str], tmp_path: Path) -> None:
    download_into("own/model", tmp_path, lambda *_: None)
    assert all("own/model" in request for request in hub)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("model", "words"),
    [("own/unknown", "there is no public model own/unknown"), ("own/pickled", "has no safetensors weights")],
)
def test_what_the_hub_does_not_have_is_said_in_one_sentence(model: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        resolve_model(model)
    assert str(caught.value).endswith(".")


@pytest.mark.usefixtures("hub")
def test_a_cancelled_download_ends(tmp_path: Path) -> None:
    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        download_into("own/model", tmp_path, cancel)


@pytest.mark.usefixtures("hub")
def test_the_starter_comes_from_the_hub_where_that_can_be_reached(
    whole_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in whole_model.iterdir()}
    monkeypatch.setitem(REPOSITORIES, "own/starter", files)
    monkeypatch.setattr(starter, "HUB_ID", "own/starter")
    folder = starter.fetch_starter()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ORIGIN} == files
    assert starter.starter_folder() == folder


@pytest.mark.usefixtures("hub")
def test_a_hub_that_sends_something_else_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "HUB_ID", "own/model")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match="what it sent is damaged"):
        starter.fetch_starter()
    assert starter.starter_folder() is None
