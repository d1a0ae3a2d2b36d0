"""Section `[precision]`: which numbers the computation is done in, and how fp16 is kept from overflowing."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import field_validator

from studio.config.option import Section, option
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr
from studio.registry import Registry


class PrecisionSpec(Protocol):
    """The part of a precision that the configuration needs."""

    @property
    def name(self) -> str: ...
    @property
    def autocast(self) -> str | None: ...
    @property
    def loss_scaling(self) -> bool: ...
    @property
    def parameters(self) -> str: ...


_PRECISIONS: Registry[PrecisionSpec] = Registry("precision", "studio.engine.precision", "PRECISION")

FP32_MAX = 3.4028234663852886e38


class PrecisionConfig(Section):
    """The precision policy and its loss scaling."""

    name: str = option(
        "auto",
        "Precision",
        "fp32 is the most stable and the dearest; fp16 is fast but narrow and needs loss scaling; bf16 has "
        "the range of fp32 and is the recommended balance on hardware that has it.",
    )
    loss_scaling: Literal["dynamic", "static", "off"] = option(
        "dynamic",
        "Loss scaling",
        "fp16 only. The loss is multiplied before the backward pass so that small gradients do not "
        "flush to zero, and the gradients are divided again in fp32. Dynamic searches the largest scale "
        "that does not overflow; static keeps one, such as 1024; off shows what is lost without.",
        labels={"dynamic": gettext_noop("Dynamic"), "static": gettext_noop("Static"), "off": gettext_noop("Off")},
    )
    initial_scale: float = option(
        65536.0,
        "Initial scale",
        "The first loss scale; with static scaling, the scale. A few skipped steps at the start are normal.",
        ge=1.0,
        le=FP32_MAX,
    )
    growth_interval: int = option(
        2000,
        "Growth interval",
        "Dynamic scaling multiplies the scale by the growth factor after this many good updates in a row.",
        unit=gettext_noop("updates"),
        ge=1,
        advanced=True,
    )
    growth_factor: float = option(
        2.0, "Growth factor", "What the scale is multiplied by when it grows.", gt=1.0, le=1024.0, advanced=True
    )
    backoff_factor: float = option(
        0.5,
        "Backoff factor",
        "What the scale is multiplied by when a gradient overflows and the step is skipped.",
        gt=0.0,
        lt=1.0,
        advanced=True,
    )
    minimum_scale: float = option(
        1.0,
        "Lowest scale",
        "The floor under the dynamic scale: without one, enough overflows would take it to zero for good.",
        gt=0.0,
        le=FP32_MAX,
        advanced=True,
    )
    stochastic_rounding: bool = option(
        False,
        "Stochastic rounding",
        "bf16-pure only. Round an updated weight up or down at random, so that updates too small for bf16 arrive "
        "on average. Without it such weights stop moving.",
    )
    base_dtype: Literal["auto", "fp32", "fp16", "bf16", "int8", "nf4"] = option(
        "auto",
        "Storage of frozen weights",
        "Automatic stores frozen weights in the compute format: the same result in half the memory of fp32. nf4 "
        "(4 bits) with LoRA is QLoRA, an eighth of the memory and slower; int8 takes a quarter. Both round the "
        "base, so take them when it does not fit otherwise.",
        labels={"auto": gettext_noop("Automatic")},
        advanced=True,
    )
    tf32: bool = option(
        False,
        "TF32 products",
        "NVIDIA, Ampere and later: fp32 products with 10 bits of detail in place of 23, several times as fast. "
        "Off, so that fp32 stays the reference that the others are measured against; bf16 is faster still.",
        advanced=True,
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else _PRECISIONS.get(name).name


def check_precision(config: PrecisionConfig, name: str) -> None:
    """Refuse options of the section that contradict each other or the precision; what merely idles is let be.

    Args:
        config: the section.
        name: the precision, or auto while it is not chosen.

    Raises:
        ConfigError: with the key, the reason and the mend.
    """
    precision = None if name == "auto" else _PRECISIONS.get(name)
    if config.stochastic_rounding and (precision is None or precision.parameters != "bf16"):
        raise ConfigError(
            tr("precision.stochastic_rounding is for precision.name = bf16-pure alone; it is {name}.").format(name=name)
        )
    if precision is not None and config.base_dtype in _other_formats(precision):
        raise ConfigError(
            tr("precision.base_dtype = {base}: with {name} all numbers are {format}; take auto.").format(
                base=config.base_dtype, name=name, format=precision.parameters
            )
        )
    scales = (precision is None or precision.loss_scaling) and config.loss_scaling == "dynamic"
    if scales and config.minimum_scale > config.initial_scale:
        raise ConfigError(
            tr("precision.minimum_scale = {floor:g} is above precision.initial_scale = {initial:g}; lower it.").format(
                floor=config.minimum_scale, initial=config.initial_scale
            )
        )


def _other_formats(precision: PrecisionSpec) -> set[str]:
    """The formats in which a precision cannot take weights; a mixed one converts them for its products."""
    mixed = precision.autocast is not None and precision.parameters == "fp32"
    return set() if mixed else {"fp32", "fp16", "bf16"} - {precision.parameters}
