"""An export on the hub: only after it has passed, only what was certified, private unless asked otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.engine.control import no_progress
from studio.engine.export.certificate import Certificate, Check, fingerprint_files
from studio.engine.export.push import push_export
from studio.errors import Cancelled, ExportError
from tests.hub import LocalHub, hub_to_push_to

FILES = {"config.json": b"{}", "model.safetensors": bytes(5000), "README.md": b"---\nlicense: mit\n---\nA card.\n"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with hub_to_push_to(tmp_path, monkeypatch) as found:
        yield found


def exported(folder: Path, *, passed: bool = True) -> Path:
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    Certificate(
        checks=(Check(name="finite", passed=passed, value=0, limit=0, meaning="Every weight is finite."),),
        base={},
        target="merged",
        dtype="bf16",
        prompts=(),
        files=fingerprint_files(folder),
        run="one",
        versions={},
    ).write(folder)
    (folder / ".env").write_text("SECRET=1", encoding="utf-8")
    (folder / "notes.txt").write_text("of the user", encoding="utf-8")
    return folder


def test_what_was_certified_is_there_with_card_and_certificate_and_nothing_else(hub: LocalHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "export")
    (folder / "README.md").write_bytes(b"My own words.\n")  # the card is the user's to edit
    assert push_export(folder, "me/tuned", no_progress) == f"{hub.address}/me/tuned"
    sent = hub.pushed["me/tuned"]
    assert hub.facts["me/tuned"] == {"private": True}
    assert sent.pop("certificate.json") == (folder / "certificate.json").read_bytes()
    assert sent == FILES | {"README.md": b"My own words.\n"}


def test_a_public_one_has_to_be_asked_for_and_one_that_is_public_is_no_place_for_a_private_one(
    hub: LocalHub, tmp_path: Path
) -> None:
    folder = exported(tmp_path / "export")
    push_export(folder, "me/open", no_progress, private=False)
    assert hub.facts["me/open"] == {"private": False}
    hub.pushed["me/open"].clear()
    with pytest.raises(ExportError, match="me/open is there already and is public"):
        push_export(folder, "me/open", no_progress)
    assert hub.pushed["me/open"] == {}


def test_an_export_that_failed_or_has_changed_is_not_put_on_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="did not pass its checks"):
        push_export(exported(tmp_path / "failed", passed=False), "me/tuned", no_progress)
    folder = exported(tmp_path / "changed")
    (folder / "model.safetensors").write_bytes(bytes(4999) + b"1")
    with pytest.raises(ExportError, match=r"model\.safetensors in .* not the files that were certified"):
        push_export(folder, "me/tuned", no_progress)
    with pytest.raises(ExportError, match="is not the id of a repository"):
        push_export(exported(tmp_path / "named"), "tuned", no_progress)
    assert hub.requests == []


def test_without_a_token_that_may_write_it_is_a_sentence(hub: LocalHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "export")
    hub.token = "another"
    with pytest.raises(ExportError, match="does not allow it with this token"):
        push_export(folder, "me/tuned", no_progress)
    (tmp_path / "keyring.json").unlink()
    with pytest.raises(ExportError, match="a token that may write is needed"):
        push_export(folder, "me/tuned", no_progress)
    assert hub.pushed == {}


@pytest.mark.usefixtures("hub")
def test_it_can_be_cancelled(tmp_path: Path) -> None:
    def cancel(stage: str, *_: int) -> None:
        if stage == "uploading":
            raise Cancelled

    with pytest.raises(Cancelled):
        push_export(exported(tmp_path / "export"), "me/tuned", cancel)
