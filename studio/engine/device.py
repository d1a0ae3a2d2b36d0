"""What this machine computes with: which device a run takes, how much memory there is, and what was used."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from studio import cards
from studio.errors import TrainingError
from studio.i18n import tr

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "datasets", "safetensors", "numpy")
_LEAST_FREE = 256 << 20  # bytes; below, Linux looks for a process to end
_ROUNDS_THE_BASE = "bitsandbytes"  # to nf4 and int8; need not be installed


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One graphics processor. Memory in bytes; `capability` is NVIDIA's, such as "9.0".

    `problem` says why training cannot use it, empty when it can.
    """

    name: str
    memory_total: int
    memory_available: int
    capability: str = ""
    bf16: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """This machine. Memory in bytes; `cpu_bf16` and `cpu_fp16`: the processor multiplies such matrices itself."""

    cpu: str
    cores: int
    memory_total: int
    memory_available: int
    cpu_bf16: bool
    cpu_fp16: bool
    gpus: tuple[Gpu, ...]


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the GPU where there is one.

    Raises:
        TrainingError: this machine has no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            tr("training.device: there is no {name} on this machine; take auto or cpu.").format(name=name)
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise TrainingError(tr("training.device: there is no Apple GPU on this machine; take auto or cpu."))
    return torch.device(name)


def memory_of(name: str) -> tuple[int, int]:
    """Return the bytes that are free on the device called `name`, and all that it has. Raises `TrainingError`."""
    import torch

    device = resolve_device(name)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return free, total
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def free_of_alike_gpus() -> tuple[int, ...]:
    """Return the bytes that are free on each NVIDIA GPU of this computer; empty where they are of several kinds."""
    import torch

    numbers = range(torch.cuda.device_count())
    if len({torch.cuda.get_device_capability(number) for number in numbers}) != 1:
        return ()
    return tuple(torch.cuda.mem_get_info(number)[0] for number in numbers)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch has a class for GPUs alone."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    )


def memory_is_short(device: torch.device) -> bool:
    """Return whether a processor has so little memory left that the system may soon end a process, without a word."""
    return device.type == "cpu" and psutil.virtual_memory().available < _LEAST_FREE


def release_memory(device: torch.device) -> None:
    """Give back memory that is held without being used: by torch on a GPU, and by the C library on Linux."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None:
        trim(0)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held so far: by tensors on a GPU, by this process on a processor."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # getrusage would also count what the process was before it became this program.
    if told := _told_by_linux("self/status", "VmHWM"):
        return int(told.split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kilobytes


def hardware() -> Hardware:
    """Look at this machine."""
    from studio.engine.kernels.products import cpu_has_bf16, cpu_has_fp16

    memory = psutil.virtual_memory()
    return Hardware(
        cpu=processor_name(),
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        memory_total=int(memory.total),
        memory_available=int(memory.available),
        cpu_bf16=cpu_has_bf16(),
        cpu_fp16=cpu_has_fp16(),
        gpus=tuple(_gpus()),
    )


def processor_name() -> str:
    """Return what the processor is called."""
    # Linux alone hides the name in a file; there `platform` knows only the instruction set.
    return _told_by_linux("cpuinfo", "model name") or platform.processor() or platform.machine()


def computing_name(device: torch.device) -> str:
    """Return what the device that computes is called: the GPU, or the processor with its instruction set."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def library_versions() -> dict[str, str]:
    """Return the versions that decide what a run computes."""
    optional = [_ROUNDS_THE_BASE] if importlib.util.find_spec(_ROUNDS_THE_BASE) else []
    versions = {name: importlib.metadata.version(name) for name in (*_LIBRARIES, *optional)}
    return {"python": platform.python_version(), **versions}


def _told_by_linux(file: str, key: str) -> str:
    """Return the first value of a key in a file of /proc; empty where there is none."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _gpus() -> list[Gpu]:
    import torch

    if torch.cuda.is_available():
        return [_cuda_gpu(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        memory = psutil.virtual_memory()
        return [Gpu(name="Apple", memory_total=int(memory.total), memory_available=int(memory.available))]
    return _gpus_of_the_driver()


def _cuda_gpu(index: int) -> Gpu:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(
        name=torch.cuda.get_device_name(index),
        memory_total=total,
        memory_available=free,
        capability=f"{major}.{minor}",
        bf16=major >= 8,  # Ampere and later compute in bf16 themselves
    )


def _gpus_of_the_driver() -> list[Gpu]:
    """GPUs that torch cannot use, because its build has nothing for them or does not fit the driver."""
    return [
        Gpu(
            name=card.name,
            memory_total=card.memory_total,
            memory_available=card.memory_free,
            capability=card.capability,
            problem=tr("the installed torch cannot use it"),
        )
        for card in cards.look().cards
    ]
