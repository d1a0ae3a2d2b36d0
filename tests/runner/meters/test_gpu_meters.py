"""Each question to a driver is guarded alone."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from studio.runner.meters import gpu
from studio.runner.meters.amd import AmdMeters
from studio.runner.meters.apple import AppleMeters
from studio.runner.meters.computer import ComputerMeters
from studio.runner.meters.nvidia import NvidiaMeters
from tests.runner.meters.fake_nvml import QUESTIONS, FakeNvml

ALL = {
    "gpu_memory": 9_126_805_504,
    "gpu_memory_total": 25_757_745_152,
    "gpu_use": 0.97,
    "gpu_temperature": 83,
    "gpu_power": 348.512,
    "gpu_power_limit": 350.0,
    "gpu_throttle": ["power_limit", "heat"],
}
MISSING = {
    "nvmlDeviceGetMemoryInfo": {"gpu_memory": None, "gpu_memory_total": None},
    "nvmlDeviceGetUtilizationRates": {"gpu_use": None},
    "nvmlDeviceGetPowerUsage": {"gpu_power": None},
    "nvmlDeviceGetEnforcedPowerLimit": {"gpu_power_limit": None},
    "nvmlDeviceGetTemperature": {"gpu_temperature": None},
}


def test_an_nvidia_card_tells_its_figures_in_our_units() -> None:
    nvml = FakeNvml()
    meters = NvidiaMeters(nvml, "GPU-1")
    assert meters.read() == ALL
    meters.close()
    assert nvml.open == 0


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_fails_leaves_the_other_answers(name: str) -> None:
    assert NvidiaMeters(FakeNvml(name), "GPU-1").read() == ALL | MISSING.get(name, {})


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_function_that_this_version_does_not_have_leaves_the_other_answers(name: str) -> None:
    assert NvidiaMeters(FakeNvml(absent=(name,)), "GPU-1").read() == ALL | MISSING.get(name, {})


def test_a_card_that_answers_nothing_has_no_figures() -> None:
    meters = NvidiaMeters(FakeNvml(*QUESTIONS, "nvmlShutdown"), "GPU-1")
    assert meters.read() == dict.fromkeys(ALL) | {"gpu_throttle": []}
    meters.close()


@pytest.mark.parametrize("name", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_without_a_driver_or_a_card_there_are_no_meters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(name)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # type: ignore[arg-type]
    assert gpu.nvidia_meters("1") is None
    assert nvml.open == 0


def test_a_card_is_asked_for_by_the_name_that_the_driver_has_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # type: ignore[arg-type]
    assert gpu.nvidia_meters("8a6f-1") is not None
    assert nvml.asked_for == "GPU-8a6f-1"


def test_without_the_library_there_are_no_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu.nvidia_meters("1") is None


def test_a_processor_has_no_meters_of_a_gpu() -> None:
    assert gpu.meters_of("cpu") is None


def _amd_card(devices: Path, address: str) -> Path:
    card = devices / address
    sensors = card / "hwmon" / "hwmon4"
    sensors.mkdir(parents=True)
    (card / "mem_info_vram_used").write_text("8589934592\n")
    (card / "mem_info_vram_total").write_text("25753026560\n")
    (card / "gpu_busy_percent").write_text("88\n")
    (sensors / "temp1_input").write_text("71000\n")
    (sensors / "power1_average").write_text("301000000\n")
    (sensors / "power1_cap").write_text("339000000\n")
    return card


AMD = {
    "gpu_memory": 8589934592,
    "gpu_memory_total": 25753026560,
    "gpu_use": 0.88,
    "gpu_temperature": 71.0,
    "gpu_power": 301.0,
    "gpu_power_limit": 339.0,
}


def test_an_amd_card_tells_its_figures_in_our_units(tmp_path: Path) -> None:
    card = _amd_card(tmp_path, "0000:03:00.0")
    assert AmdMeters(card).read() == AMD


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("N/A")], ids=["absent", "no number"])
def test_a_file_of_an_amd_card_that_says_nothing_leaves_the_others(tmp_path: Path, damage: object) -> None:
    card = _amd_card(tmp_path, "0000:03:00.0")
    damage(card / "gpu_busy_percent")  # type: ignore[operator]
    assert AmdMeters(card).read() == AMD | {"gpu_use": None}


def test_an_amd_card_is_found_by_its_place_or_as_the_only_one(tmp_path: Path) -> None:
    _amd_card(tmp_path, "0000:03:00.0")
    place = SimpleNamespace(pci_domain_id=0, pci_bus_id=3, pci_device_id=0)
    assert gpu.amd_meters(place, tmp_path) is not None
    assert gpu.amd_meters(SimpleNamespace(pci_domain_id=0, pci_bus_id=4, pci_device_id=0), tmp_path) is None
    assert gpu.amd_meters(SimpleNamespace(), tmp_path) is not None
    _amd_card(tmp_path, "0000:04:00.0")
    assert gpu.amd_meters(SimpleNamespace(), tmp_path) is None


def test_apple_tells_the_memory_alone() -> None:
    def refuse() -> int:
        raise RuntimeError

    mps = SimpleNamespace(driver_allocated_memory=lambda: 7, recommended_max_memory=refuse)
    assert AppleMeters(mps).read() == {"gpu_memory": 7, "gpu_memory_total": None}


def test_the_computer_tells_processor_and_memory() -> None:
    told = ComputerMeters().read()
    assert 0 <= told["processor"] <= 1
    assert 0 < told["process_memory"] < told["memory_total"]
    assert 0 < told["memory"] < told["memory_total"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [("cpu_percent", {"processor"}), ("virtual_memory", {"memory", "memory_total"})],
)
def test_what_the_system_does_not_tell_leaves_the_rest(
    name: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> float:
        raise OSError

    monkeypatch.setattr(psutil, name, refuse)
    told = ComputerMeters().read()
    assert {key for key, value in told.items() if value is None} == missing
