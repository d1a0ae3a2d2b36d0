"""`doctor` names a card that torch cannot use, and the command that mends it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio import cards
from studio.cards import Card, Machine
from studio.engine import device
from studio.runner import actions
from studio.runs import create_run
from studio.torch_build import Installed

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _a_card_and_a_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("nvidia", "NVIDIA GeForce RTX 4070", "8.9", 12 * 1024**3, 11 * 1024**3)
    machine = Machine("win32", "x86_64", (card,), driver="581.29")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(cards, "look", lambda: machine)
    monkeypatch.setattr(actions.torch_build, "installed_torch", lambda: Installed("2.13.0", "cpu"))
    monkeypatch.setattr(actions.sys, "executable", "python")


def test_a_card_that_torch_cannot_use_is_named_with_the_command_that_mends_it(command: Command) -> None:
    lines = [line.strip() for line in command("doctor").out.splitlines()]
    assert "GPU NVIDIA GeForce RTX 4070, memory 12 GB, 11 GB free. the installed torch cannot use it" in lines
    place = lines.index(
        "NVIDIA GeForce RTX 4070 cannot be used for training: the installed torch (2.13.0+cpu) cannot use it, and the "
        "CUDA 13.0 build can."
    )
    assert lines[place + 1] == (
        "This command mends it: python -m pip install --extra-index-url https://download.pytorch.org/whl/cu130 "
        "torch==2.13.0+cu130"
    )


def test_the_report_carries_the_card_and_the_command(command: Command) -> None:
    values = command("doctor", "--json").json
    (card,) = values["unused_cards"]
    assert card["name"] == values["hardware"]["gpus"][0]["name"] == "NVIDIA GeForce RTX 4070"
    assert card["command"].endswith("torch==2.13.0+cu130")


def test_a_card_that_only_the_driver_sees_is_hardware_too() -> None:
    (gpu,) = device.hardware().gpus
    assert (gpu.capability, gpu.memory_total) == ("8.9", 12 * 1024**3)
    assert gpu.problem


def test_the_bundle_is_written_and_its_files_are_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path))
    run = create_run(tmp_path / "runs", "one", "[method]\nname = 'lora'\n")
    values = command("doctor", "--json", "--bundle", tmp_path / "r.zip").json
    assert values["bundle"] == str(tmp_path / "r.zip")
    with zipfile.ZipFile(tmp_path / "r.zip") as bundle:
        assert bundle.namelist() == values["files"]
        assert "NVIDIA GeForce RTX 4070" in bundle.read("doctor.txt").decode()
    assert "run/config.toml" in values["files"]
    assert command("doctor", "--bundle", tmp_path / "r.zip", "--run", run.path).status == 0
    assert command("doctor", "--bundle", tmp_path / "r.zip", "--run", tmp_path / "none").status == 1
