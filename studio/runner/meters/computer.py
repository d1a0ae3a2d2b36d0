"""The meters of the computer itself, by psutil."""

from __future__ import annotations

from typing import Any

import psutil

from studio.runner.meters.guard import Guard


class ComputerMeters:
    """Processor and memory, of the whole computer and of this process."""

    def __init__(self) -> None:
        self._ask = Guard(psutil.Error, OSError)
        self._process = psutil.Process()
        self._ask(psutil.cpu_percent)  # the first answer says nothing: there is no time since the last question

    def read(self) -> dict[str, Any]:
        """Return what is known now, by field of `MetersSampled`."""
        processor = self._ask(psutil.cpu_percent)
        memory = self._ask(psutil.virtual_memory)
        own = self._ask(self._process.memory_info)
        return {
            "processor": None if processor is None else processor / 100,
            "memory": None if memory is None else int(memory.total - memory.available),
            "memory_total": None if memory is None else int(memory.total),
            "process_memory": None if own is None else int(own.rss),
        }

    def close(self) -> None:
        """There is nothing to give back."""
