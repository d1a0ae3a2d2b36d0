"""The meters of an Apple GPU, by torch. Use, heat and power are told to an administrator alone, so they are missing."""

from __future__ import annotations

from typing import Any

from studio.runner.meters.guard import Guard


class AppleMeters:
    """Asks torch for the memory that the driver has given to this process.

    Args:
        mps: the module `torch.mps`.
    """

    def __init__(self, mps: Any) -> None:
        self._ask = Guard(RuntimeError, AttributeError)
        self._mps = mps

    def read(self) -> dict[str, Any]:
        """Return what is known now, by field of `MetersSampled`."""
        return {
            "gpu_memory": self._ask(lambda: int(self._mps.driver_allocated_memory())),
            "gpu_memory_total": self._ask(lambda: int(self._mps.recommended_max_memory())),
        }

    def close(self) -> None:
        """There is nothing to give back."""
