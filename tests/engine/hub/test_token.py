"""The token: kept in the keyring, shown to its own hub alone, and written nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.engine.control import no_progress
from studio.engine.hub.api import HubError
from studio.engine.hub.download import download_model
from studio.engine.hub.token import read_token, save_token
from studio.errors import ConfigError
from studio.logs import log_to_file
from studio.paths import home
from tests.hub import Fault, LocalHub, local_hub

MODEL = "own/gated"
TOKEN = "hf_secret"
REPOSITORIES = {MODEL: {"config.json": b"{}", "model.safetensors": bytes(100_000)}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(REPOSITORIES, tmp_path, monkeypatch) as found:
        found.gated.add(MODEL)
        yield found


@pytest.mark.usefixtures("keyring_file")
def test_a_token_is_shown_to_the_hub_that_it_was_saved_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert read_token() == "hf_of_the_library"
    save_token(TOKEN)
    assert read_token() == TOKEN
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert read_token() is None
    save_token("other")
    assert read_token() == "other"
    save_token("")
    save_token("")
    assert read_token() is None


def test_without_a_keyring_there_is_a_sentence_and_no_file(hub: LocalHub) -> None:
    with pytest.raises(ConfigError, match="no keyring that can keep the token"):
        save_token(TOKEN)
    assert read_token() is None
    assert hub.tokens == []


@pytest.mark.usefixtures("keyring_file")
def test_a_gated_model_names_the_page_of_its_terms_and_comes_with_the_token(hub: LocalHub) -> None:
    with pytest.raises(HubError, match=rf"own/gated is gated: accept its terms on {hub.address}/own/gated"):
        download_model(MODEL, no_progress)
    save_token("wrong")
    with pytest.raises(HubError, match="is gated"):
        download_model(MODEL, no_progress)
    save_token(TOKEN)
    assert (download_model(MODEL, no_progress) / "model.safetensors").stat().st_size == 100_000
    assert f"Bearer {TOKEN}" in hub.tokens


def test_a_token_stands_in_no_file_of_ours(hub: LocalHub, keyring_file: Path) -> None:
    log_to_file()
    save_token(TOKEN)
    hub.faults["model.safetensors"] = [Fault("drop", 10), Fault("status", 403)]
    with pytest.raises(HubError):
        download_model(MODEL, no_progress)
    download_model(MODEL, no_progress)
    files = [path for path in home().rglob("*") if path.is_file()]
    assert any(path.name == "studio.log" for path in files)  # the lost line was logged
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)
    assert TOKEN in keyring_file.read_text(encoding="utf-8")


@pytest.mark.usefixtures("keyring_file")
def test_a_token_that_the_hub_does_not_know_is_said_to_be_wrong(hub: LocalHub) -> None:
    save_token("wrong")
    invalid = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.faults[MODEL] = [Fault("status", 401, invalid)]
    with pytest.raises(HubError, match="does not accept the token; save a valid one"):
        download_model(MODEL, no_progress)


@pytest.mark.usefixtures("keyring_file")
def test_the_storage_that_the_hub_leads_to_does_not_see_the_token(hub: LocalHub) -> None:
    save_token(TOKEN)
    hub.elsewhere = hub.address.replace("127.0.0.1", "localhost")
    hub.faults["model.safetensors"] = [Fault("drop", 50_000)]
    assert (download_model(MODEL, no_progress) / "model.safetensors").stat().st_size == 100_000
    assert ("model.safetensors", "bytes=50000-") in hub.ranges
    assert set(hub.shown_elsewhere) == {""}
