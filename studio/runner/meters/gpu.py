"""Which meters there are for the GPU that a run trains on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

from studio.runner.meters.amd import AmdMeters
from studio.runner.meters.apple import AppleMeters
from studio.runner.meters.nvidia import NvidiaMeters

log = logging.getLogger(__name__)
PCI_DEVICES = Path("/sys/bus/pci/devices")


class Meters(Protocol):
    """A part of the computer that can be asked."""

    def read(self) -> dict[str, Any]:
        """Return what is known now, by field of `MetersSampled`; it raises nothing."""

    def close(self) -> None:
        """Give back what is held."""


def meters_of(device: str) -> Meters | None:
    """Return the meters of a device of torch, such as cuda:0; None where there are none, which the log tells.

    torch has used the device before.
    """
    kind = device.partition(":")[0]
    if kind not in ("cuda", "mps"):
        return None
    import torch

    if kind == "mps":
        return AppleMeters(torch.mps)
    found = torch.cuda.get_device_properties(device)
    return amd_meters(found) if torch.version.hip else nvidia_meters(str(found.uuid))


def nvidia_meters(uuid: str) -> Meters | None:
    """Return the meters of an NVIDIA GPU; None where its library is missing or does not answer."""
    try:
        import pynvml
    except ImportError:
        log.info("The GPU has no meters here: nvidia-ml-py is not installed")
        return None
    try:
        return NvidiaMeters(pynvml, uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
    except pynvml.NVMLError as error:
        log.info("The GPU has no meters here: %s", error)
        return None


def amd_meters(found: Any, devices: Path = PCI_DEVICES) -> Meters | None:
    """Return the meters of an AMD GPU by its place on the bus; where torch does not tell it, of the only card."""
    place = [getattr(found, name, None) for name in ("pci_domain_id", "pci_bus_id", "pci_device_id")]
    if None not in place:
        domain, bus, slot = place
        cards = [devices / f"{domain:04x}:{bus:02x}:{slot:02x}.0"]
    else:
        cards = [file.parent for file in devices.glob("*/mem_info_vram_total")]
    if len(cards) == 1 and (cards[0] / "mem_info_vram_total").exists():
        return AmdMeters(cards[0])
    log.info("The GPU has no meters here: its files were not found among those of the kernel")
    return None
