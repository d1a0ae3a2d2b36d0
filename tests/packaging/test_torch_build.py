"""Which build of torch is chosen for what the tools report, and which cards the installed one cannot use."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from studio import torch_build
from studio.cards import Card, Machine, parse_nvidia_smi, parse_rocminfo
from studio.torch_build import Installed, choose, cuda_build, parse_torch_version, unused_cards

RECORDED = Path(__file__).parent / "recorded"
INDEX = "https://mirror.example/whl"


def nvidia(name: str, system: str = "linux", processor: str = "x86_64") -> Machine:
    found = parse_nvidia_smi((RECORDED / f"nvidia_smi_{name}.txt").read_text())
    return Machine(system, processor, found.cards, found.driver)


def amd(name: str, system: str = "linux") -> Machine:
    return Machine(system, "x86_64", parse_rocminfo((RECORDED / f"rocminfo_{name}.txt").read_text()))


@pytest.mark.parametrize(
    ("machine", "tag"),
    [
        (nvidia("rtx_4090"), "cu130"),
        (nvidia("rtx_4090", "win32"), "cu130"),  # pip's own wheel has no CUDA on Windows
        (nvidia("wsl_3060"), "cu126"),  # CUDA 13 begins with driver 580
        (nvidia("wsl_3060", "win32"), "cu126"),
        (nvidia("mig"), "cu126"),
        (nvidia("maxwell"), "cu126"),
        (nvidia("two_generations"), "cu126"),  # one build for both, though CUDA 13 would serve the newer
        (nvidia("pascal_and_blackwell"), "cu130"),  # no build for both: the newer card's
        (nvidia("spark", processor="arm64"), "cu130"),
        (nvidia("blackwell_570"), "cpu"),  # CUDA 12.6 has nothing for it, and CUDA 13 needs another driver
        (nvidia("kepler"), "cpu"),
        (nvidia("driver_472"), "cpu"),
        (nvidia("driver_472", "win32"), ""),
        (nvidia("rtx_4090", "win32", "arm64"), ""),
        (amd("7900_xtx"), "rocm7.2"),
        (amd("mi210_and_integrated"), "rocm7.2"),
        (amd("7900_xtx", "win32"), ""),
        (Machine("linux", "x86_64", (Card("amd", "AMD gfx803", "gfx803"),)), "cpu"),
        (Machine("linux", "x86_64"), "cpu"),
        (Machine("win32", "x86_64"), ""),
        (Machine("darwin", "arm64", (Card("apple", "Apple"),)), ""),
        (Machine("linux", "x86_64", trouble="nvidia-smi does not answer"), "cpu"),
    ],
)
def test_the_build_that_uses_the_card_is_chosen(machine: Machine, tag: str) -> None:
    assert choose(machine).build.tag == tag


def test_nvidia_goes_before_the_graphics_of_an_amd_processor() -> None:
    both = replace(nvidia("rtx_4090"), cards=(*amd("7900_xtx").cards, *nvidia("rtx_4090").cards))
    assert choose(both).build.tag == "cu130"


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (nvidia("blackwell_570"), "the NVIDIA driver 570.86.10 is too old for NVIDIA GeForce RTX 5090: install version 580"),
        (nvidia("driver_472", "win32"), "driver 472.12 is too old for NVIDIA GeForce GTX 1080: install version 528"),
        (nvidia("kepler"), "torch has no build for Tesla K80"),
        (nvidia("pascal_and_blackwell"), "it uses NVIDIA GeForce RTX 5090 with driver 580.95.05"),
        (Machine("linux", "x86_64", trouble="No devices were found"), "does not answer (No devices were found)"),
        (Machine("linux", "x86_64"), "no graphics card that torch can use was found"),
    ],
)  # fmt: skip
def test_the_reason_says_what_to_do(machine: Machine, words: str) -> None:
    assert words in choose(machine).reason


def test_a_card_that_the_build_leaves_unused_is_named() -> None:
    ((card, reason),) = choose(nvidia("pascal_and_blackwell")).unused
    assert card.name == "NVIDIA GeForce GTX 1080 Ti"
    assert reason == (
        "NVIDIA GeForce GTX 1080 Ti and the other cards need different builds of torch, and CUDA 13.0 was taken"
    )


@pytest.mark.parametrize("name", ["12.6", "126", "cu126"])
def test_a_cuda_version_is_understood_as_people_write_it(name: str) -> None:
    build = cuda_build(name, "win32")
    assert build is not None
    assert (build.tag, build.name) == ("cu126", "CUDA 12.6")


def test_a_cuda_version_without_a_build_is_none() -> None:
    assert cuda_build("11.8", "linux") is None
    assert cuda_build("12.6", "darwin") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", ("2.13.0", "cpu")),
        ("__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n", ("2.13.0", "cu130")),
        ("__version__ = '2.11.0a0+git1'\ncuda: Optional[str] = '12.6'\n", ("2.11.0a0", "cu126")),
        ("__version__ = '2.13.0'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.2.53211'\n", ("2.13.0", "rocm7.2")),
        ("__version__ = '2.13.0'\ncuda = None\n", ("2.13.0", "cpu")),
    ],
)  # fmt: skip
def test_the_installed_build_is_read_without_importing_torch(text: str, expected: tuple[str, str]) -> None:
    assert parse_torch_version(text) == Installed(*expected)


def test_the_torch_that_is_installed_here_is_recognised() -> None:
    found = torch_build.installed_torch()
    assert found is not None
    assert found.version.startswith("2.")


@pytest.fixture(autouse=True)
def _cards_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def complaints(machine: Machine, tag: str) -> list[tuple[str, str]]:
    return [(card.name, card.command) for card in unused_cards(machine, Installed("2.13.0", tag), "python", INDEX)]


@pytest.mark.parametrize(
    ("machine", "tag", "mended"),
    [
        (nvidia("rtx_4090", "win32"), "cpu", "cu130"),
        (nvidia("wsl_3060"), "cu130", "cu126"),
        (nvidia("maxwell"), "cpu", "cu126"),
        (nvidia("rtx_4090"), "rocm7.2", "cu130"),
        (amd("7900_xtx"), "cpu", "rocm7.2"),
    ],
)
def test_a_card_that_torch_cannot_use_is_named_with_the_command_that_mends_it(
    machine: Machine, tag: str, mended: str
) -> None:
    ((name, command),) = complaints(machine, tag)
    assert name == machine.cards[0].name
    assert command == f"python -m pip install --extra-index-url {INDEX}/{mended} torch==2.13.0+{mended}"


def test_a_blackwell_card_with_the_build_for_older_ones_gets_the_newer_build() -> None:
    machine = replace(nvidia("blackwell_570"), driver="580.95.05")
    ((_, command),) = complaints(machine, "cu126")
    assert command.endswith("torch==2.13.0+cu130")


@pytest.mark.parametrize("machine", [nvidia("blackwell_570"), nvidia("kepler")])
def test_where_no_build_helps_the_reason_stands_without_a_command(machine: Machine) -> None:
    (card,) = unused_cards(machine, Installed("2.13.0", "cu130"), "python", INDEX)
    assert card.command == ""
    assert card.name in card.reason


@pytest.mark.parametrize(
    ("machine", "tag"),
    [
        (nvidia("rtx_4090"), "cu130"),
        (nvidia("rtx_4090"), "cu126"),  # works, though another would be chosen
        (nvidia("rtx_4090"), "cu128"),  # not in the table
        (nvidia("mig"), "cu126"),
        (amd("7900_xtx"), "rocm7.1"),
        (Machine("linux", "x86_64"), "cpu"),
        (Machine("darwin", "arm64", (Card("apple", "Apple"),)), "cpu"),
    ],
)
def test_nothing_is_said_of_cards_that_are_used(machine: Machine, tag: str) -> None:
    assert complaints(machine, tag) == []


def test_of_two_cards_the_unused_one_is_named() -> None:
    assert complaints(nvidia("two_generations"), "cu130") == [
        (
            "NVIDIA GeForce GTX 1080 Ti",
            f"python -m pip install --extra-index-url {INDEX}/cu126 torch==2.13.0+cu126",
        )
    ]


def test_a_card_that_does_not_answer_is_named_with_its_own_words() -> None:
    machine = Machine("linux", "x86_64", trouble="Failed to initialize NVML: Driver/library version mismatch")
    (card,) = unused_cards(machine, Installed("2.13.0", "cu130"), "python", INDEX)
    assert (card.name, card.reason, card.command) == ("NVIDIA", machine.trouble, "")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_cards_that_the_user_hides_are_not_named(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert complaints(nvidia("rtx_4090"), "cpu") == []


def test_a_mirror_takes_the_place_of_pytorchs_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(torch_build.INDEX_VARIABLE, raising=False)
    assert torch_build.torch_index() == torch_build.DEFAULT_INDEX
    monkeypatch.setenv(torch_build.INDEX_VARIABLE, f"{INDEX}/")
    assert torch_build.torch_index() == INDEX


def test_the_table_is_read_with_the_standard_library_alone() -> None:
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import studio.torch_build"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
