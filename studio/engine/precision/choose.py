"""Which precision to use on which hardware, and why; and a refusal, with the reason, of what cannot work."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING

from studio.config.precision import PrecisionConfig, check_precision
from studio.engine.precision import PRECISIONS, Precision
from studio.errors import ConfigError
from studio.i18n import gettext_noop, sentences, tr

if TYPE_CHECKING:
    import torch

QUANTISED = ("int8", "nf4")

# Why a precision was taken, or what there is to say against it; and why frozen weights are stored in a {format}.
REASONS = {
    "chosen": gettext_noop("Chosen by you."),
    "gpu_has_bf16": gettext_noop("This GPU has bf16: the range of fp32 at the speed of 16 bits, without loss scaling."),
    "gpu_without_bf16": gettext_noop("This GPU has no bf16; fp16 with dynamic loss scaling is its fast choice."),
    "gpu_without_bf16_for_bf16_model": gettext_noop(
        "This model is stored in bf16, which this GPU does not have, and its activations may exceed what fp16 can "
        "hold (65504); fp32 is slower but safe."
    ),
    "apple_gpu": gettext_noop("On Apple GPUs fp32 is the choice that always works."),
    "processor_has_bf16": gettext_noop("This processor has bf16 instructions: faster than fp32, with the same range."),
    "processor_without_bf16": gettext_noop(
        "This processor has no fast 16-bit arithmetic; fp32 is both the safest and the quickest."
    ),
    "bf16_weights_lose_updates": gettext_noop(
        "Without a master copy updates that are too small for bf16 are lost; switch on stochastic rounding."
    ),
    "fp16_for_bf16_model": gettext_noop(
        "This model is stored in bf16; its activations may exceed what fp16 can hold (65504)."
    ),
    "fp16_on_processor": gettext_noop("On a processor fp16 is for seeing its numerics; bf16 or fp32 is faster there."),
    "frozen_as_asked": gettext_noop("Frozen weights are stored in {format}, as you asked."),
    "frozen_to_fit": gettext_noop(
        "Frozen weights are rounded to {format} (QLoRA), because in 16 bits they would fill more than half of the GPU."
    ),
    "frozen_like_all": gettext_noop("Frozen weights are in {format}, like all others."),
    "frozen_as_in_the_files": gettext_noop("Frozen weights stay in {format}, the model's own format."),
    "frozen_as_products_take_them": gettext_noop(
        "Frozen weights are stored in {format}, as the products take them: the same result, less memory."
    ),
    "weights_spread": gettext_noop(
        "Each process holds a part of every weight, and so numerics are not recorded: no process sees all of it."
    ),
    "experts_not_rounded": gettext_noop(
        "The experts are not rounded: they lie in one weight for each layer, which stays in the format of the products."
    ),
}


def reason_text(reasons: Iterable[str], precision: str, frozen: str = "") -> str:
    """Return reasons for a precision in words; `frozen` is the format of frozen weights, where they speak of it."""
    words = (PRECISIONS.get(precision).for_study if code == "for_study" else REASONS[code] for code in reasons)
    return sentences(map(tr, words)).format(format=frozen)


def choose_precision(config: PrecisionConfig, device: torch.device, stored: str) -> tuple[Precision, str]:
    """Return the precision to train in and the reason, a code of `REASONS` or "for_study".

    Args:
        config: `name` may be auto.
        device: where training will run.
        stored: the format that the model's weights are stored in, such as "bf16".

    Raises:
        ConfigError: the device cannot compute in the precision or store weights in the format that was asked for, or
            options contradict it.
    """
    if config.name == "auto":
        name, reason = _automatic(device, stored)
    else:
        name = config.name
        reason = remark(name, device, stored, config.stochastic_rounding) or "chosen"
    precision = PRECISIONS.get(name)
    check_precision(config, name)
    if precision.autocast == "bf16" and not has_bf16(device):
        raise ConfigError(tr("This GPU has no bf16; take precision fp16-mixed, or fp32 where memory allows."))
    check_quantiser(config.base_dtype, device)
    return precision, reason


def check_quantiser(base_dtype: str, device: torch.device) -> None:
    """Refuse a storage format that cannot be had here. Raises `ConfigError`."""
    if base_dtype not in QUANTISED:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            tr(
                "precision.base_dtype = {base} needs the package bitsandbytes; "
                "install it with: pip install 'finetune-studio[gpu]'"
            ).format(base=base_dtype)
        )
    if device.type == "mps":
        raise ConfigError(
            tr("precision.base_dtype = {base} is not to be had on Apple GPUs; take auto.").format(base=base_dtype)
        )


def choose_storage(config: PrecisionConfig, precision: Precision) -> str:
    """Return the format of the frozen weights: the one asked for, or the compute format."""
    return (precision.autocast or "fp32") if config.base_dtype == "auto" else config.base_dtype


def storage_reason(config: PrecisionConfig, precision: Precision, stored: str) -> str:
    """Return why frozen weights are stored as they are, a code; `stored` is the format of the model's files."""
    if config.base_dtype != "auto":
        return "frozen_as_asked"
    if precision.pure or precision.autocast is None:
        return "frozen_like_all"
    return "frozen_as_in_the_files" if stored == precision.autocast else "frozen_as_products_take_them"


def has_bf16(device: torch.device) -> bool:
    """Return whether `device` computes matrix products in bf16 by itself (NVIDIA: Ampere and later)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu"


def _automatic(device: torch.device, stored: str) -> tuple[str, str]:
    if device.type == "cuda":
        if has_bf16(device):
            return "bf16-mixed", "gpu_has_bf16"
        return ("fp32", "gpu_without_bf16_for_bf16_model") if stored == "bf16" else ("fp16-mixed", "gpu_without_bf16")
    if device.type == "mps":
        return "fp32", "apple_gpu"
    from studio.engine.kernels.products import cpu_has_bf16

    return ("bf16-mixed", "processor_has_bf16") if cpu_has_bf16() else ("fp32", "processor_without_bf16")


def remark(name: str, device: torch.device, stored: str, stochastic_rounding: bool = False) -> str:
    """Return what there is to say against a precision that works here, a code of `REASONS` or "for_study", or ""."""
    precision = PRECISIONS.get(name)
    if precision.for_study:
        return "for_study"
    if precision.pure and not stochastic_rounding:
        return "bf16_weights_lose_updates"
    if name == "fp16-mixed" and stored == "bf16":
        return "fp16_for_bf16_model"
    return "fp16_on_processor" if name == "fp16-mixed" and device.type == "cpu" else ""
