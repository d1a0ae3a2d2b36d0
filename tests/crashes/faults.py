"""Writes that fail, or at which the process is killed: counted and chosen from one place."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

KILL = "SIGKILL"
CODES = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
WRITING = set("wax+")


class Faults:
    """Counts what a process writes below a folder, and lets one of these writes fail.

    Args:
        root: only what lies below it counts.
        number: of the write that fails, from 1; 0 lets none fail.
        kind: `ENOSPC`, `EIO`, or `SIGKILL`: then the process is killed before the write, or after it.
        lasting: all later writes fail as well.
        within: a function that says whether writes count at the moment.
    """

    def __init__(
        self, root: Path, number: int, kind: str, *, lasting: bool = False, within: Callable[[], bool] = lambda: True
    ) -> None:
        self.count = 0
        self.failed_at = ""
        self._root = str(root)
        self._number = number
        self._kind = kind
        self._lasting = lasting
        self._within = within

    def install(self) -> None:
        """Take the place of everything that writes, in this process and for good."""
        for module, name, place in (
            (os, "mkdir", 0),
            (os, "rename", 1),
            (os, "replace", 1),
            (os, "link", 1),
            (os, "write", 0),
            (os, "fsync", 0),
            (safetensors.torch, "serialize_file", 1),
        ):
            self._wrap(module, name, place)
        for module in (io, builtins):
            self._wrap_open(module)

    def _wrap(self, module: Any, name: str, place: int) -> None:
        original = getattr(module, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            with self._passing(name, args[place], of_safetensors=module is safetensors.torch):
                return original(*args, **options)

        setattr(module, name, wrapped)

    def _wrap_open(self, module: Any) -> None:
        original = module.open

        def wrapped(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not WRITING & set(mode):
                return original(file, mode, *args, **options)
            with self._passing("open", file):
                return original(file, mode, *args, **options)

        module.open = wrapped

    @contextmanager
    def _passing(self, name: str, target: Any, *, of_safetensors: bool = False) -> Iterator[None]:
        if not (self._counts(target) and self._within()):
            yield
            return
        self.count += 1
        hit = self.count >= self._number > 0 if self._lasting else self.count == self._number
        if hit and self._kind == KILL:
            if self._number % 2:
                yield  # half of the processes die after the write
            os.kill(os.getpid(), signal.SIGKILL)
        if hit:
            self.failed_at = self.failed_at or f"{name} {target}"
            code = CODES[self._kind]
            if of_safetensors:
                raise SafetensorError(f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})")
            raise OSError(code, os.strerror(code), str(target))
        yield

    def _counts(self, target: Any) -> bool:
        if isinstance(target, int):
            try:
                target = Path(f"/proc/self/fd/{target}").readlink()
            except OSError:
                return False
        return str(target).startswith(self._root)
