"""A pause that gives the GPU back: what the run holds there waits in the memory of the processor, byte for byte.

Storages move, not tensors. A storage that is resized to nothing gives its memory back, while every tensor, view and
tied weight on it stays as it is, such as the packed numbers and scales of a quantised weight, which no `state_dict`
shows. Resized again and filled with the same bytes, all of them are as they were. (FSDP frees its parameters this way.)
"""

from __future__ import annotations

import gc
import logging
import types
from collections.abc import Iterable
from typing import Any

import psutil
import torch
from torch import Tensor

from studio.engine.control import Control
from studio.engine.device import is_out_of_memory, release_memory
from studio.engine.training.state import Emit
from studio.events import RunPaused, RunResumed

log = logging.getLogger(__name__)

SPARE = 1 << 30  # bytes of the processor's memory that stay free


def wait(control: Control, emit: Emit, roots: Iterable[object], device: torch.device, step: int, because: str) -> None:
    """Wait until the run may go on or is to stop. Meanwhile nothing of what `roots` refer to takes memory of a GPU.

    On a processor all stays where it is: to free its memory, a run is stopped and resumed later. Apple GPUs share the
    processor's memory. Where the GPU is taken when the run is to go on, it says so and waits on.
    """
    moves = frees(device)
    # What others draw meanwhile, for an answer in the chat, say, must not change the dropout of the micro-batches left.
    with control.not_counted(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        parked = Parked(roots, device) if moves else None
        missing = 0
        while True:
            emit(RunPaused(step=step, because=because, released=parked.bytes if parked else 0, missing=missing))
            control.wait_while_paused()
            missing = parked.bring_back() if parked else 0
            if not missing:
                break
            if control.stop_requested and parked:
                parked.stay_on_host()  # saving needs no GPU
                break
            control.pause()
    emit(RunResumed(step=step))


def frees(device: torch.device) -> bool:
    """Whether a pause frees the memory of a device."""
    return device.type == "cuda"


class Parked:
    """The bytes of all storages on a device that `roots` refer to, in the memory of the processor.

    Where that has no room for them they stay on the device, and `bytes` is 0.

    Attributes:
        bytes: that the device has more free now.
    """

    def __init__(self, roots: Iterable[object], device: torch.device) -> None:
        self.bytes = 0
        self._device = device
        self._tensors = [tensor for tensor in tensors_of(roots) if tensor.device.type == device.type]
        self._moved: list[tuple[torch.UntypedStorage, Tensor]] = []
        storages = {storage.data_ptr(): storage for storage in map(Tensor.untyped_storage, self._tensors)}
        found = [storage for storage in storages.values() if storage.nbytes() and storage.resizable()]
        needed = sum(storage.nbytes() for storage in found)
        if needed + SPARE > psutil.virtual_memory().available:
            log.warning("The memory of the processor has no room for the %d bytes on the GPU; they stay there", needed)
            return
        for storage in found:
            self._moved.append((storage, _bytes_of(storage).to("cpu", copy=True)))
            storage.resize_(0)
        self.bytes = needed
        if device.type == "cuda":
            torch._C._cuda_clearCublasWorkspaces()
        release_memory(device)

    def bring_back(self) -> int:
        """Put every byte back where it was, and return 0; or leave all as it is, and return the bytes that lack."""
        filled = []
        try:
            for storage, kept in self._moved:
                filled.append(storage)
                storage.resize_(kept.numel())
                _bytes_of(storage).copy_(kept)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._moved.clear()
            return 0
        for storage in filled:
            storage.resize_(0)
        release_memory(self._device)
        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else 0
        return max(1, self.bytes - free)

    def stay_on_host(self) -> None:
        """Let every tensor be one of the processor: a run that ends can be saved from there."""
        kept = {storage._cdata: host for storage, host in self._moved}
        for tensor in self._tensors:
            host = kept.get(tensor.untyped_storage()._cdata)
            if host is not None:
                place = (tensor.storage_offset(), tensor.size(), tensor.stride())
                tensor.data = torch.empty(0, dtype=tensor.dtype).set_(host.untyped_storage(), *place)


def tensors_of(roots: Iterable[object]) -> list[Tensor]:
    """Return all tensors that objects refer to, through attributes, containers, gradients, hooks and closures."""
    found: list[Tensor] = []
    seen: dict[int, object] = {}
    waiting: list[Any] = list(roots)
    while waiting:
        one = waiting.pop()
        # Modules and classes lead to everything that the program has.
        if id(one) in seen or isinstance(one, types.ModuleType | type | types.CodeType):
            continue
        seen[id(one)] = one
        if isinstance(one, types.FunctionType):  # not its globals
            waiting += (one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__)
            continue
        if isinstance(one, Tensor):
            found.append(one)
            if one.is_leaf and one.grad is not None:
                waiting.append(one.grad)
        waiting += gc.get_referents(one)
    return found


def _bytes_of(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
