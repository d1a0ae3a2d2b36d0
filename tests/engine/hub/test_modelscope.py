"""Models from ModelScope: with its own library where that is installed, and with a stand-in everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from studio.config.model import plain_model
from studio.engine.control import no_progress
from studio.engine.estimate.unseen import Outlook, outlooks
from studio.engine.hub import download
from studio.engine.hub.address import HUGGING_FACE, MODELSCOPE, choose_hub, hub_of
from studio.engine.hub.api import HubError
from studio.engine.hub.download import download_model
from studio.engine.hub.folders import ORIGIN, folder_of, list_unfinished, origin_of
from studio.engine.hub.repository import Found
from studio.engine.hub.search import search
from studio.engine.hub.sources.modelscope import ModelScope
from studio.engine.hub.token import read_token, save_token
from studio.engine.hub.transfer import Patience
from studio.logs import log_to_file
from studio.paths import home
from tests.hub import Fault, LocalHub, sha256
from tests.modelscope import local_modelscope

MODEL, GATED = "own/model", "own/gated"
WEIGHTS = bytes(range(256)) * 2000
HALF = 200_000
TOKEN = "ms-secret"
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "pytorch_model.bin": b"pickle", "README.md": b"#"}
REPOSITORIES = {MODEL: FILES, GATED: FILES, "own/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"}}
HERE = find_spec("modelscope_hub") is not None
REAL = pytest.param(False, id="library", marks=pytest.mark.skipif(not HERE, reason="modelscope-hub is not installed"))


@pytest.fixture(params=[pytest.param(True, id="stand-in"), REAL])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr(download, "PATIENCE", Patience(silence=5.0, pauses=(0.01,)))
    with local_modelscope(REPOSITORIES, tmp_path, monkeypatch, stand_in=request.param) as found:
        found.token = TOKEN
        found.gated.add(GATED)
        yield found


def test_models_are_found_with_what_modelscope_says_of_them(hub: LocalHub) -> None:
    hub.facts[MODEL] = {
        "file_size": 726_000_000,
        "license": "apache-2.0",
        "downloads": 1234,
        "last_modified": "2026-03-04T05:06:07+00:00",
    }
    hub.facts[GATED] = {"gated": True, "tags": ["library:safetensors", "license:mit"]}
    hub.facts.update({f"own/model-{number}": {} for number in range(60)})
    first, gated, *others = search("own", "model", 55, no_progress)
    assert first == Found(id=MODEL, bytes=726_000_000, licence="apache-2.0", downloads=1234, updated="2026-03-04")
    assert (gated.id, gated.gated, gated.licence) == (GATED, True, "mit")
    assert len(others) == 53  # from two pages
    asked = parse_qs(urlsplit(hub.requests[0]).query)
    assert (asked["search"], asked["sort"]) == (["own"], ["downloads"])
    assert (asked["filter.task"], asked["filter.library"]) == (["text-generation"], ["safetensors"])


def test_a_download_goes_on_inside_the_file_and_its_sums_are_checked(hub: LocalHub) -> None:
    hub.faults["model.safetensors"] = [Fault("drop", HALF), Fault("status", 403)]
    with pytest.raises(HubError, match=f"own/model is not open to all: see {hub.address}/models/own/model"):
        download_model(MODEL, no_progress)
    assert list_unfinished()[MODEL] >= HALF
    folder = download_model(MODEL, no_progress)
    assert [asked for name, asked in hub.ranges if name == "model.safetensors"] == ["", *[f"bytes={HALF}-"] * 2]
    assert sorted(file.name for file in folder.iterdir()) == [ORIGIN, "config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    assert (origin["source"], origin["hub"], origin["id"]) == ("modelscope", hub.address, MODEL)
    assert origin["files"]["config.json"] == sha256(FILES["config.json"])
    assert origin_of(folder) is None  # an export does not name it as a model of Hugging Face's hub


def test_other_bytes_than_were_announced_are_refused(hub: LocalHub) -> None:
    hub.always["model.safetensors"] = Fault("other_bytes")
    with pytest.raises(HubError, match=r"what it sends of model.safetensors is not what it announced"):
        download_model(MODEL, no_progress)
    assert not folder_of(MODEL).exists()


@pytest.mark.usefixtures("hub")
def test_what_cannot_be_had_is_half_a_sentence() -> None:
    with pytest.raises(HubError, match="there is no public model own/none"):
        download_model("own/none", no_progress)
    with pytest.raises(HubError, match="own/pickled has no safetensors weights"):
        download_model("own/pickled", no_progress)
    with pytest.raises(HubError, match="own/gated is not open to all"):
        download_model(GATED, no_progress)


def test_a_hub_that_refuses_a_search_is_half_a_sentence(hub: LocalHub) -> None:
    hub.faults["models"] = [Fault("status", 400)]
    with pytest.raises(HubError, match=r"127.0.0.1:\d+ refuses it \(status 400\)"):
        search("own", "model", 10, no_progress)


def test_config_json_alone_tells_what_training_takes(hub: LocalHub) -> None:
    told: dict[str, Outlook] = {}
    outlooks([Found(id=MODEL), Found(id=GATED)], told.__setitem__, no_progress)
    assert told[MODEL].problem
    assert "is not open to all" in told[GATED].unknown
    assert {name for name, _ in hub.ranges} == {"config.json"}


@pytest.mark.usefixtures("keyring_file")
def test_the_token_is_kept_for_modelscope_alone_and_in_no_file(hub: LocalHub) -> None:
    log_to_file()
    save_token(TOKEN, MODELSCOPE)
    assert (read_token(MODELSCOPE), read_token(HUGGING_FACE)) == (TOKEN, None)
    hub.elsewhere = hub.address.replace("127.0.0.1", "localhost")
    hub.faults["model.safetensors"] = [Fault("drop", HALF)]
    assert (download_model(GATED, no_progress) / "model.safetensors").read_bytes() == WEIGHTS
    assert {f"Bearer {TOKEN}", f"m_session_id={TOKEN}"} <= set(hub.tokens)
    assert set(hub.shown_elsewhere) == {""}  # the storage that ModelScope leads to
    files = [path for path in home().rglob("*") if path.is_file()]
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)


def test_the_library_of_modelscope_writes_nothing_into_the_home(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    search("own", "model", 1, no_progress)
    ModelScope().look(MODEL, no_progress)
    assert hub.requests
    assert list((tmp_path / "user").iterdir()) == []


def test_without_the_library_the_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with local_modelscope(REPOSITORIES, tmp_path, monkeypatch, stand_in=False) as found:
        monkeypatch.setattr("studio.engine.hub.address.find_spec", lambda _: None)
        assert "modelscope-hub is not installed" in MODELSCOPE.why_not()
        assert "-m pip install modelscope-hub" in MODELSCOPE.why_not()
        if not HERE:
            with pytest.raises(HubError, match="-m pip install modelscope-hub"):
                download_model(MODEL, no_progress)
            assert found.requests == []


@pytest.mark.skipif(not HERE, reason="modelscope-hub is not installed")
def test_files_come_from_where_the_library_takes_them() -> None:
    from modelscope_hub import HubApi

    name = "a folder/weights & more.safetensors"
    there = HubApi(endpoint=MODELSCOPE.address()).legacy.get_download_url(MODEL, "model", name)
    assert ModelScope().address_of(MODEL, "", name) == there


def test_datasets_come_from_hugging_face_and_an_unknown_name_is_that_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HUB", "")
    assert hub_of("model") == HUGGING_FACE
    choose_hub("modelscope")
    assert (hub_of("model"), hub_of("dataset")) == (MODELSCOPE, HUGGING_FACE)
    monkeypatch.setenv("FINETUNE_STUDIO_HUB", "elsewhere")
    assert hub_of("model") == HUGGING_FACE


def test_the_page_of_a_model_on_modelscope_stands_for_its_id_where_models_come_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = "https://www.modelscope.cn/models/Qwen/Qwen3-0.6B/summary?x=1"
    monkeypatch.setenv("FINETUNE_STUDIO_HUB", "")
    assert plain_model(page) == page
    choose_hub("modelscope")
    assert plain_model(page) == plain_model("modelscope.cn/models/Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    assert plain_model("https://modelscope.cn/datasets/a/b") == "https://modelscope.cn/datasets/a/b"
