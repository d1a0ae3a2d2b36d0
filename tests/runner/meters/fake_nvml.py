"""What stands in for `pynvml`: the answers of a driver as nvml.h describes them, any of which can fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

QUESTIONS = (
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetTemperature",
)


class NVMLError(Exception):
    pass


class FakeNvml:
    """`failing` are the functions that raise; `absent` those that this version of the module does not have."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError = NVMLError

    def __init__(self, *failing: str, absent: tuple[str, ...] = ()) -> None:
        self.failing = failing
        self.absent = absent
        self.open = 0
        self.asked_for = ""
        self.answers: dict[str, Any] = {
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=9_126_805_504, free=16_630_939_648, total=25_757_745_152),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=61),
            "nvmlDeviceGetPowerUsage": 348_512,
            "nvmlDeviceGetEnforcedPowerLimit": 350_000,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x24,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x24,
            "nvmlDeviceGetTemperature": 83,
        }

    def __getattr__(self, name: str) -> Any:
        if name in self.absent or name not in self.answers:
            raise AttributeError(name)

        def answer(*_: object) -> Any:
            if name in self.failing:
                raise NVMLError("Not Supported")
            return self.answers[name]

        return answer

    def nvmlInit(self) -> None:  # noqa: N802
        if "nvmlInit" in self.failing:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if "nvmlDeviceGetHandleByUUID" in self.failing:
            raise NVMLError("Not Found")
        self.asked_for = uuid
        return uuid

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1
        if "nvmlShutdown" in self.failing:
            raise NVMLError("Uninitialized")
