"""What the tools of NVIDIA and AMD print is read right, and a tool that is absent, broken or hanging is no error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from studio import cards
from studio.cards import Card, Machine, Output, look

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


class Tools:
    """Stands for the programs of a computer: what each answers, by a part of its command; any other is absent."""

    def __init__(self, **answers: Output) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, command: list[str]) -> Output | None:
        line = " ".join(command)
        self.asked.append(line)
        return next((answer for part, answer in self.answers.items() if part in line), None)


@pytest.fixture(autouse=True)
def _a_linux_computer_without_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(cards, "ask_nvidia_library", lambda _: cards.Nvidia())
    monkeypatch.setattr(cards, "nvidia_on_the_bus", lambda: False)
    monkeypatch.setattr(cards.look_for_amd, "__defaults__", (tmp_path / "no nodes",))


def nvidia(name: str) -> Machine:
    return look(Tools(compute_cap=Output(recorded(f"nvidia_smi_{name}"), 0)))


def test_a_card_is_read_with_its_driver_capability_and_memory() -> None:
    machine = nvidia("rtx_4090")
    assert machine == Machine(
        "linux",
        "x86_64",
        (Card("nvidia", "NVIDIA GeForce RTX 4090", "8.9", 24564 * 1024**2, 24080 * 1024**2),),
        driver="580.95.05",
    )


def test_two_cards_are_two_lines() -> None:
    assert [(card.name, card.capability) for card in nvidia("two_generations").cards] == [
        ("NVIDIA GeForce RTX 3090", "8.6"),
        ("NVIDIA GeForce GTX 1080 Ti", "6.1"),
    ]


@pytest.mark.parametrize(
    ("name", "capability", "free"), [("mig", "8.0", 0), ("spark", "12.1", 0)], ids=["MIG", "shared memory"]
)
def test_a_fact_that_is_not_told_is_left_out(name: str, capability: str, free: int) -> None:
    (card,) = nvidia(name).cards
    assert (card.capability, card.memory_free) == (capability, free)


def test_a_driver_that_knows_no_capabilities_is_asked_without_them() -> None:
    refusal, answer = Output(recorded("nvidia_smi_no_compute_cap"), 2), Output(recorded("nvidia_smi_driver_472"), 0)
    machine = look(Tools(compute_cap=refusal, name=answer))
    assert machine.driver == "472.12"
    assert [card.capability for card in machine.cards] == [""]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("no_driver", 9, "couldn't communicate with the NVIDIA driver"),
        ("mismatch", 18, "Driver/library version mismatch"),
        ("no_devices", 6, "No devices were found"),
    ],
)
def test_a_broken_driver_is_told_in_its_own_words(name: str, status: int, words: str) -> None:
    machine = look(Tools(query=Output(recorded(f"nvidia_smi_{name}"), status)))
    assert machine.cards == ()
    assert words in machine.trouble
    assert "\n" not in machine.trouble


def test_the_drivers_library_answers_where_the_tool_is_absent_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("nvidia", "NVIDIA L4", "8.9")
    monkeypatch.setattr(cards, "ask_nvidia_library", lambda _: cards.Nvidia((card,), "550.54.15"))
    for tools in (Tools(), Tools(query=Output("", 127))):
        machine = look(tools)
        assert (machine.cards, machine.driver, machine.trouble) == ((card,), "550.54.15", "")


def test_a_hanging_tool_is_not_asked_again_by_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "ask_nvidia_library", lambda _: pytest.fail("the same driver was asked again"))
    tools = Tools(query=Output("", None))
    assert look(tools).trouble == "nvidia-smi does not answer"
    assert len([line for line in tools.asked if "query" in line]) == 1


def test_a_program_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "SECONDS", 0.01)
    endless = "import threading; threading.Event().wait()"
    assert cards.run_program([sys.executable, "-c", endless]) == Output("", None)


def test_a_program_that_is_absent_is_none_and_one_that_fails_says_why() -> None:
    assert cards.run_program(["no-such-program-anywhere"]) is None
    failing = cards.run_program([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])
    assert failing == Output("why", 3)


def test_a_computer_without_any_tool_has_no_cards_and_no_trouble() -> None:
    assert look(Tools()) == Machine("linux", "x86_64")


def test_a_card_without_a_driver_is_seen_on_the_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, vendor, kind in (("0", "0x10de", "0x040300"), ("1", "0x8086", "0x030000")):  # its sound; another card
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    monkeypatch.undo()
    assert not cards.nvidia_on_the_bus(tmp_path)
    (tmp_path / "0" / "class").write_text("0x030200\n")
    assert cards.nvidia_on_the_bus(tmp_path)
    assert not cards.nvidia_on_the_bus(tmp_path / "absent")


def test_rocminfo_is_read_without_the_processor() -> None:
    assert look(Tools(rocminfo=Output(recorded("rocminfo_7900_xtx"), 0))).cards == (
        Card("amd", "AMD Radeon RX 7900 XTX", "gfx1100"),
    )


def test_the_features_of_an_architecture_are_no_part_of_its_name() -> None:
    found = look(Tools(rocminfo=Output(recorded("rocminfo_mi210_and_integrated"), 0))).cards
    assert [(card.name, card.capability) for card in found] == [
        ("AMD Instinct MI210", "gfx90a"),
        ("AMD Radeon Graphics", "gfx1036"),
    ]


@pytest.mark.parametrize("answer", [None, Output(recorded("rocminfo_no_module"), 1), Output("", None)])
def test_the_kernels_list_serves_where_rocminfo_does_not(answer: Output | None, tmp_path: Path) -> None:
    for number, name in enumerate(("kfd_processor", "kfd_radeon_8060s")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "properties").write_text(recorded(name))
    assert cards.look_for_amd("linux", lambda _: answer, tmp_path) == (Card("amd", "AMD gfx1151", "gfx1151"),)


def test_a_mac_with_an_apple_processor_has_apples_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert look(Tools()).cards == ()
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert look(Tools()) == Machine("darwin", "arm64", (Card("apple", "Apple"),))


@pytest.mark.parametrize(
    ("told", "name"), [("AMD64", "x86_64"), ("x86_64", "x86_64"), ("aarch64", "arm64"), ("ARM64", "arm64")]
)
def test_a_processor_has_one_name_on_all_systems(told: str, name: str) -> None:
    assert cards.normal_processor(told) == name
