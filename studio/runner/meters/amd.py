"""The meters of an AMD GPU on Linux, from the files of its kernel driver (kernel.org, "amdgpu": sysfs, hwmon).

They need no library. Why such a card is slowed down stands in no file that all cards have: it is not told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.files import read_text
from studio.runner.meters.guard import Guard


class AmdMeters:
    """Reads the files of one card.

    Args:
        device: the card's folder, such as /sys/bus/pci/devices/0000:03:00.0.
    """

    def __init__(self, device: Path) -> None:
        self._ask = Guard(OSError, ValueError)
        self._device = device
        self._sensors = next(iter(sorted(device.glob("hwmon/hwmon*"))), device)

    def read(self) -> dict[str, Any]:
        """Return what is known now, by field of `MetersSampled`."""
        use = self._number(self._device / "gpu_busy_percent")
        heat = self._number(self._sensors / "temp1_input")
        power = self._number(self._sensors / "power1_average")
        if power is None:  # newer cards tell the power of the moment alone
            power = self._number(self._sensors / "power1_input")
        limit = self._number(self._sensors / "power1_cap")
        return {
            "gpu_memory": self._number(self._device / "mem_info_vram_used"),
            "gpu_memory_total": self._number(self._device / "mem_info_vram_total"),
            "gpu_use": None if use is None else use / 100,
            "gpu_temperature": None if heat is None else heat / 1000,
            "gpu_power": None if power is None else power / 1e6,
            "gpu_power_limit": None if limit is None else limit / 1e6,
        }

    def close(self) -> None:
        """There is nothing to give back."""

    def _number(self, file: Path) -> int | None:
        return self._ask(lambda: int(read_text(file)))
