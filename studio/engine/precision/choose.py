"""Which precision to use on which hardware, and why; and a refusal, with the reason, of what cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.config.precision import PrecisionConfig
from studio.engine.precision import PRECISIONS, Precision
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    import torch


def choose_precision(config: PrecisionConfig, device: torch.device, stored: str) -> tuple[Precision, str]:
    """Return the precision to train in and the reason, one sentence.

    Args:
        config: `name` may be auto.
        device: where training will run.
        stored: the format that the model's weights are stored in, such as "bf16".

    Raises:
        ConfigError: the device cannot compute in the precision that was asked for.
    """
    if config.name == "auto":
        name, reason = _automatic(device)
    else:
        name, reason = config.name, remark(config.name, device, stored) or tr("Chosen by you.")
    precision = PRECISIONS.get(name)
    if precision.autocast == "bf16" and not has_bf16(device):
        raise ConfigError(tr("This GPU has no bf16; take precision fp16-mixed, or fp32 where memory allows."))
    return precision, reason


def has_bf16(device: torch.device) -> bool:
    """Return whether `device` computes matrix products in bf16 by itself (NVIDIA: Ampere and later)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu"


def _automatic(device: torch.device) -> tuple[str, str]:
    if device.type == "cuda" and has_bf16(device):
        return "bf16-mixed", tr("This GPU has bf16: the range of fp32 at the speed of 16 bits, without loss scaling.")
    if device.type == "cuda":
        return "fp16-mixed", tr("This GPU has no bf16; fp16 with dynamic loss scaling is its fast choice.")
    if device.type == "mps":
        return "fp32", tr("On Apple GPUs fp32 is the choice that always works.")
    from studio.engine.autocast import cpu_has_bf16

    if cpu_has_bf16():
        return "bf16-mixed", tr("This processor has bf16 instructions: faster than fp32, with the same range.")
    return "fp32", tr("This processor has no fast 16-bit arithmetic; fp32 is both the safest and the quickest.")


def remark(name: str, device: torch.device, stored: str) -> str:
    """Return what there is to say against a precision that works here, or nothing."""
    if name == "fp16-mixed" and stored == "bf16":
        return tr("This model is stored in bf16; its activations may exceed what fp16 can hold (65504).")
    if name == "fp16-mixed" and device.type == "cpu":
        return tr("On a processor fp16 is for seeing its numerics; bf16 or fp32 is faster there.")
    return ""
