"""The meters of an NVIDIA GPU, by the driver's management library (nvidia-ml-py, the module `pynvml`)."""

from __future__ import annotations

from typing import Any

from studio.runner.meters.guard import Guard

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean less speed than the GPU could have (nvml.h). That it is
# idle, or that its clocks were chosen by a user, is no trouble.
THROTTLES = {
    0x04: "power_limit",
    0x08: "hardware",
    0x20: "heat",
    0x40: "heat_hardware",
    0x80: "power_brake",
}


class NvidiaMeters:
    """Asks one GPU. Each question is guarded alone: what a card or a driver does not tell is None.

    Args:
        nvml: the module `pynvml`.
        uuid: the GPU, as torch and the driver call it.

    Raises:
        pynvml.NVMLError: there is no driver, or no such GPU.
    """

    def __init__(self, nvml: Any, uuid: str) -> None:
        # AttributeError: the module or the driver's library does not have the function.
        self._ask = Guard(nvml.NVMLError, AttributeError, ValueError, OSError)
        self._nvml = nvml
        nvml.nvmlInit()
        try:
            self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        except nvml.NVMLError:
            self.close()
            raise

    def read(self) -> dict[str, Any]:
        """Return what is known now, by field of `MetersSampled`."""
        ask, nvml, gpu = self._ask, self._nvml, self._handle
        memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(gpu))
        use = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
        watts = ask(lambda: nvml.nvmlDeviceGetPowerUsage(gpu))
        limit = ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu))
        reasons = ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
        if reasons is None:  # the name that drivers before 535 have
            reasons = ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))
        return {
            "gpu_memory": None if memory is None else int(memory.used),
            "gpu_memory_total": None if memory is None else int(memory.total),
            "gpu_use": None if use is None else use / 100,
            "gpu_temperature": ask(lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_power": None if watts is None else watts / 1000,
            "gpu_power_limit": None if limit is None else limit / 1000,
            "gpu_throttle": [name for bit, name in THROTTLES.items() if (reasons or 0) & bit],
        }

    def close(self) -> None:
        """Let the library go."""
        self._ask(self._nvml.nvmlShutdown)
