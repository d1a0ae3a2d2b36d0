"""`export --push` and `verify --push`, to a hub on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.engine.export.certificate import Certificate, Check, fingerprint_files, read_certificate
from studio.runner import actions
from studio.runs import create_run
from tests.hub import LocalHub, hub_to_push_to

Command = Callable[..., Any]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with hub_to_push_to(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, "run", "").path


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, run: Path) -> Path:
    """An export that has passed, and is what `export` and `verify` find."""
    folder = run / "exports" / "merged"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(500))
    Certificate(
        checks=(Check(name="finite", passed=True, value=0, limit=0, meaning="Every weight is finite."),),
        base={},
        target="merged",
        dtype="bf16",
        prompts=(),
        files=fingerprint_files(folder),
        run="run",
        versions={},
    ).write(folder)
    answer(monkeypatch, folder)
    return folder


def answer(monkeypatch: pytest.MonkeyPatch, folder: Path, *, passed: bool = True) -> None:
    found = read_certificate(folder)
    found = dataclasses.replace(found, checks=tuple(dataclasses.replace(one, passed=passed) for one in found.checks))
    made = SimpleNamespace(
        path=folder, certificate=folder / "certificate.json", passed=passed, checks=found.checks, restored=""
    )
    monkeypatch.setattr(actions, "export", lambda *_: made)
    monkeypatch.setattr(actions, "verify", lambda *_: found)


def test_an_export_that_passed_is_sent_and_private_unless_asked(
    command: Command, hub: LocalHub, run: Path, export: Path
) -> None:
    found = command("export", run, "--to", "merged", "--push", "me/tuned", "--json")
    assert found.status == 0
    assert found.json["page"] == f"{hub.address}/me/tuned"
    assert sorted(hub.pushed["me/tuned"]) == ["certificate.json", "model.safetensors"]
    assert hub.facts["me/tuned"] == {"private": True}
    command("export", run, "--to", "merged", "--push", "me/open", "--public")
    assert hub.facts["me/open"] == {"private": False}


def test_an_earlier_export_is_checked_again_before_it_is_sent(command: Command, hub: LocalHub, export: Path) -> None:
    found = command("verify", export, "--push", "me/tuned", "--json")
    assert (found.status, found.json["page"]) == (0, f"{hub.address}/me/tuned")
    assert "model.safetensors" in hub.pushed["me/tuned"]


def test_what_did_not_pass_is_not_sent(
    command: Command, hub: LocalHub, run: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, export, passed=False)
    assert command("export", run, "--to", "merged", "--push", "me/tuned").status == 1
    found = command("verify", export, "--push", "me/tuned", "--json")
    assert found.status == 1
    assert "page" not in found.json
    assert hub.requests == []


def test_a_hub_that_refuses_is_one_sentence_and_the_export_is_there(
    command: Command, hub: LocalHub, run: Path, export: Path
) -> None:
    hub.token = "another"
    found = command("export", run, "--to", "merged", "--push", "me/tuned")
    assert (found.status, found.out) == (1, "")
    assert f"The export is in {export}." in found.err
    assert "was not put on" in found.err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [("--push", "tuned"), ("--push", "a/b/c"), ("--public",)])
def test_wrong_arguments_are_told_before_the_work(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(actions, "export", asked.append)
    assert command("export", run, "--to", "merged", *arguments).status == 2
    assert asked == []
