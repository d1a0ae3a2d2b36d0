"""Which graphics cards this computer has and which driver they have, with the standard library alone.

The set-up script asks before torch is there, and `doctor` and the window ask about cards that torch does not see. So
nothing here imports torch: the facts come from `nvidia-smi`, NVIDIA's management library, `rocminfo` and the kernel.
"""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SECONDS = 10  # a driver that is being reset can keep nvidia-smi waiting for ever
# `compute_cap` is unknown to drivers before 510; the second query serves those.
NVIDIA_QUERIES = (
    "name,driver_version,memory.total,memory.free,compute_cap",
    "name,driver_version,memory.total,memory.free",
)
NVIDIA_SMI_PLACES = ("/usr/lib/wsl/lib/nvidia-smi", r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe")
NVIDIA_LIBRARIES = {"linux": "libnvidia-ml.so.1", "win32": "nvml.dll"}
NVIDIA_VENDOR, DISPLAY_CLASS = "0x10de", "0x03"  # as PCI numbers them
KFD_NODES, PCI_DEVICES = Path("/sys/class/kfd/kfd/topology/nodes"), Path("/sys/bus/pci/devices")

Maker = Literal["nvidia", "amd", "apple"]


@dataclass(frozen=True)
class Card:
    """One graphics card. Memory in bytes, 0 where it is not told.

    `capability` is what its programs are compiled for: "8.6" for NVIDIA, "gfx1100" for AMD, "" where it is not told.
    """

    maker: Maker
    name: str
    capability: str = ""
    memory_total: int = 0
    memory_free: int = 0


@dataclass(frozen=True)
class Machine:
    """What decides which build of torch uses the cards of a computer.

    `system` is Python's `sys.platform`, `processor` is "x86_64" or "arm64", `driver` the version of NVIDIA's driver.
    `trouble` says why an NVIDIA card that seems to be there does not answer, in the words of its tool.
    """

    system: str
    processor: str
    cards: tuple[Card, ...] = ()
    driver: str = ""
    trouble: str = ""

    def of(self, maker: Maker) -> tuple[Card, ...]:
        """Return the cards of one maker."""
        return tuple(card for card in self.cards if card.maker == maker)


@dataclass(frozen=True)
class Output:
    """What a program said. `status` is None where it did not end in time."""

    text: str
    status: int | None


Run = Callable[[list[str]], Output | None]


def run_program(command: list[str]) -> Output | None:
    """Run a program for at most `SECONDS`; return what it said, or None where there is no such program."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Output("", None)
    except OSError:
        return None
    return Output((done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace").strip(), done.returncode)


def look(run: Run = run_program) -> Machine:
    """Return the cards of this computer; a tool that is absent, broken or hanging is no error."""
    system, processor = sys.platform, normal_processor(platform.machine())
    if system == "darwin":
        apple = (Card("apple", "Apple"),) if processor == "arm64" else ()
        return Machine(system, processor, apple)
    nvidia = look_for_nvidia(system, run)
    return Machine(
        system, processor, (*nvidia.cards, *look_for_amd(system, run)), driver=nvidia.driver, trouble=nvidia.trouble
    )


def normal_processor(name: str) -> str:
    """Return one name for what systems call AMD64, x86_64, aarch64, arm64 or ARM64."""
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name.lower(), name.lower())


# --- NVIDIA ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Nvidia:
    """What NVIDIA's tools tell: cards and driver, or the trouble that they have."""

    cards: tuple[Card, ...] = ()
    driver: str = ""
    trouble: str = ""


def look_for_nvidia(system: str, run: Run) -> Nvidia:
    """Ask `nvidia-smi`; where it is absent or broken, the driver's library; else say what is on the bus."""
    program = shutil.which("nvidia-smi") or next((p for p in NVIDIA_SMI_PLACES if Path(p).exists()), "nvidia-smi")
    trouble = ""
    for query in NVIDIA_QUERIES:
        output = run([program, f"--query-gpu={query}", "--format=csv,noheader,nounits"])
        if output is None:
            break
        if output.status is None:
            # The library would ask the same driver, and wait as long, without a way to give up.
            return Nvidia(trouble="nvidia-smi does not answer")
        if output.status == 0 and (found := parse_nvidia_smi(output.text)).cards:
            return found
        trouble = output.text.partition("\n")[0].strip() or f"nvidia-smi ended with status {output.status}"
    if (found := ask_nvidia_library(system)).cards:
        return found
    if not trouble and nvidia_on_the_bus():
        trouble = "no NVIDIA driver is installed"
    return Nvidia(trouble=trouble)


def parse_nvidia_smi(text: str) -> Nvidia:
    """Return cards and driver from the lines that `NVIDIA_QUERIES` answers; a fact in brackets, "[N/A]", is not told.

    A card in MIG mode is one line, as is any other; torch sees its slices, which share its capability and driver.
    """
    cards, driver = [], ""
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 4 or not re.fullmatch(r"\d+(\.\d+)+", fields[1]):
            continue  # a warning among the lines
        name, driver, total, free, *capability = fields
        told = capability[0] if capability and re.fullmatch(r"\d+\.\d+", capability[0]) else ""
        cards.append(Card("nvidia", name, told, _mebibytes(total), _mebibytes(free)))
    return Nvidia(tuple(cards), driver)


def _mebibytes(text: str) -> int:
    return int(text) * 1024**2 if text.isdigit() else 0


def ask_nvidia_library(system: str) -> Nvidia:
    """Ask the management library that comes with the driver, for the systems whose nvidia-smi is not to be found."""
    if system not in NVIDIA_LIBRARIES:
        return Nvidia()
    try:
        nvml = ctypes.CDLL(NVIDIA_LIBRARIES[system])
        if nvml.nvmlInit_v2() != 0:
            return Nvidia()
        try:
            return _read_nvml(nvml)
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):  # no such library, or one too old to know these functions
        return Nvidia()


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _read_nvml(nvml: ctypes.CDLL) -> Nvidia:
    """Every function returns 0 when it has filled its last arguments in."""
    text, count = ctypes.create_string_buffer(96), ctypes.c_uint()
    if nvml.nvmlSystemGetDriverVersion(text, len(text)) or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return Nvidia()
    driver, cards = text.value.decode("ascii", errors="replace"), []
    for index in range(count.value):
        device, memory, major, minor = ctypes.c_void_p(), _Memory(), ctypes.c_int(), ctypes.c_int()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            continue
        named = nvml.nvmlDeviceGetName(device, text, len(text)) == 0
        known = nvml.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor)) == 0
        nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))  # where it fails, the figures stay 0
        cards.append(
            Card(
                "nvidia",
                text.value.decode("utf-8", errors="replace") if named else "NVIDIA",
                f"{major.value}.{minor.value}" if known else "",
                int(memory.total),
                int(memory.free),
            )
        )
    return Nvidia(tuple(cards), driver)


def nvidia_on_the_bus(devices: Path = PCI_DEVICES) -> bool:
    """Return whether Linux lists a display controller of NVIDIA, with or without a driver."""

    def read(file: Path) -> str:
        try:
            return file.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ""

    return any(
        read(device / "vendor") == NVIDIA_VENDOR and read(device / "class").startswith(DISPLAY_CLASS)
        for device in (devices.iterdir() if devices.is_dir() else ())
    )


# --- AMD ---------------------------------------------------------------------------------------------------------


def look_for_amd(system: str, run: Run, nodes: Path = KFD_NODES) -> tuple[Card, ...]:
    """Return AMD's cards: by `rocminfo`, or by the kernel's own list, which is there without any tool of AMD's."""
    if system != "linux":
        return ()
    output = run(["rocminfo"])
    found = parse_rocminfo(output.text) if output and output.status == 0 else ()
    return found or read_kfd(nodes)


def parse_rocminfo(text: str) -> tuple[Card, ...]:
    """Return the agents of `rocminfo` that are graphics cards."""
    cards = []
    for agent in re.split(r"^\*+\s*\nAgent \d+\s*\n\*+", text, flags=re.MULTILINE)[1:]:
        facts = dict(re.findall(r"^  (Name|Marketing Name|Device Type): +(.*?) *$", agent, flags=re.MULTILINE))
        if facts.get("Device Type") == "GPU":
            architecture = facts.get("Name", "").partition(":")[0]  # "gfx90a:sramecc+:xnack-" names features too
            cards.append(Card("amd", facts.get("Marketing Name") or architecture, architecture))
    return tuple(cards)


def read_kfd(nodes: Path) -> tuple[Card, ...]:
    """Return the graphics cards of the kernel's compute driver. 110000 there is gfx1100, and 90010 is gfx90a."""
    cards = []
    for file in sorted(nodes.glob("*/properties")):
        try:
            facts = dict(line.split() for line in file.read_text(encoding="ascii").splitlines() if line.count(" ") == 1)
        except OSError:
            continue  # a group of users may be kept from reading it
        version = int(facts.get("gfx_target_version", "0"))
        if version:  # a processor has 0
            architecture = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            cards.append(Card("amd", f"AMD {architecture}", architecture))
    return tuple(cards)
