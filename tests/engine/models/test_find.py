from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.engine.models.find import resolve_model
from studio.engine.models.inspect import inspect_model
from studio.errors import ModelError
from tests.engine.models.editing import edit_json


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


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://huggingface.co/datasets/owner/name", "not the page of a model"),
        ("huggingface.co/spaces/owner/name", "not the page of a model"),
        ("https://huggingface.co/owner/name/tree/v2", "not of its branch main"),
        ("https://example.com/owner/name", "not the page of a model"),
    ],
)
def test_an_address_that_is_no_model_is_called_so(address: str, kind: str) -> None:
    with pytest.raises(ModelError, match=kind) as caught:
        resolve_model(address)
    assert address in str(caught.value)
    assert "owner/name" in str(caught.value)


def test_the_page_of_a_model_stands_for_its_id() -> None:
    with pytest.raises(ModelError, match="There is no folder owner/name, and it cannot be downloaded"):
        resolve_model(" https://huggingface.co/owner/name/tree/main ")


def cached(folder: Path, cache: Path, name: str, *commits: str, main: str = "") -> Path:
    """Put copies of a model into the hub's cache; return its place there."""
    store = cache / f"models--{name.replace('/', '--')}"
    for inner in ("blobs", "refs", "snapshots"):
        (store / inner).mkdir(parents=True)
    for commit in commits:
        shutil.copytree(folder, store / "snapshots" / commit)
    if main:
        (store / "refs" / "main").write_text(main, encoding="utf-8")
    return store


def test_any_folder_above_a_snapshot_of_the_hubs_cache_stands_for_it(folder: Path, tmp_path: Path) -> None:
    store = cached(folder, tmp_path / "hf" / "hub", "owner/name", "abc")
    for chosen in (
        store,
        store / "snapshots",
        store / "blobs",
        store / "refs",
        tmp_path / "hf" / "hub",
        tmp_path / "hf",
    ):
        assert resolve_model(str(chosen)) == store / "snapshots" / "abc"
    assert inspect_model(store / "snapshots" / "abc").name == "owner/name"


def test_of_several_snapshots_the_one_of_the_main_branch_is_taken(folder: Path, tmp_path: Path) -> None:
    store = cached(folder, tmp_path, "owner/name", "abc", "def", main="def\n")
    assert resolve_model(str(store)) == store / "snapshots" / "def"
    (store / "refs" / "main").unlink()
    with pytest.raises(ModelError, match=r"2 versions of a model \(abc, def\)"):
        resolve_model(str(store))


def test_a_place_in_the_cache_without_a_model_names_what_to_download(folder: Path, tmp_path: Path) -> None:
    store = cached(folder, tmp_path, "owner/name")
    with pytest.raises(ModelError, match="give owner/name to download it"):
        resolve_model(str(store))


def test_a_cache_of_several_models_names_their_ids(folder: Path, tmp_path: Path) -> None:
    for name in ("owner/one", "owner/two"):
        cached(folder, tmp_path / "hub", name, "abc")
    for chosen in (tmp_path / "hub", tmp_path):
        with pytest.raises(ModelError, match=r"holds 2 models \(owner/one, owner/two\); give the id"):
            resolve_model(str(chosen))


def test_a_folder_of_model_folders_names_them(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    for number in range(6):
        shutil.copytree(folder, place / f"model-{number}")
    with pytest.raises(ModelError, match=r"model-0, model-1, model-2, model-3 …\); choose one of them"):
        resolve_model(str(place))


@pytest.mark.parametrize(
    ("written", "model_type"),
    [("LLaMAForCausalLM", "llama"), ("Llama_ForCausalLM", "llama"), ("LlamaForCausalLM", "LLaMA")],
)
def test_an_architecture_spelt_in_an_older_way_is_todays(folder: Path, written: str, model_type: str) -> None:
    edit_json(folder / "config.json", architectures=[written], model_type=model_type)
    assert inspect_model(folder).architecture == "LlamaForCausalLM"
