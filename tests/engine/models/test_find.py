from __future__ import annotations

from pathlib import Path

import pytest

from studio.engine.models.find import resolve_model
from studio.errors import ModelError


def test_a_folder_is_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert resolve_model("tiny") == folder
    assert resolve_model(f" {folder} ") == folder


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_of_a_model_stands_for_its_folder(folder: Path, name: str) -> None:
    assert resolve_model(str(folder / name)) == folder


def test_a_home_folder_is_understood(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert resolve_model("~/tiny") == folder


@pytest.mark.parametrize(
    "text",
    ["/no/such/folder", "./model", "../model", "~/none", "C:\\models\\mine", "a/b/c", "a b/c", "a\0b", "x" * 5000],
)
def test_a_path_that_is_not_there_is_called_a_folder(text: str) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        resolve_model(text)
    assert str(caught.value).startswith("The model folder")


def test_a_hub_id_without_the_hub_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="There is no folder owner/name, and it cannot be downloaded") as caught:
        resolve_model("owner/name")
    assert "HF_HUB_OFFLINE" in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("", "No model is chosen"), ("  ", "No model is chosen")])
def test_nothing_is_no_model(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        resolve_model(text)


@pytest.mark.parametrize(("name", "words"), [("a.gguf", "GGUF"), ("notes.txt", "choose the folder")])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match=words):
        resolve_model(str(tmp_path / name))
