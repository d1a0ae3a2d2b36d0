"""Section `[precision]`: which numbers the computation is done in, and how fp16 is kept from overflowing."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from studio.config.option import Section, option
from studio.i18n import mark
from studio.registry import Named, Registry

_PRECISIONS: Registry[Named] = Registry("precision", "studio.engine.precision", "PRECISION")

FP32_MAX = 3.4028234663852886e38


class PrecisionConfig(Section):
    """The precision policy and its loss scaling."""

    name: str = option(
        "auto",
        title=mark("Precision"),
        help=mark(
            "fp32 is the most stable and the dearest; fp16 is fast but narrow and needs loss scaling; bf16 has "
            "the range of fp32 and is the recommended balance on hardware that has it."
        ),
    )
    loss_scaling: Literal["dynamic", "static", "off"] = option(
        "dynamic",
        title=mark("Loss scaling"),
        help=mark(
            "fp16 only. The loss is multiplied before the backward pass so that small gradients do not "
            "flush to zero, and the gradients are divided again in fp32. Dynamic searches the largest scale "
            "that does not overflow; static keeps one, such as 1024; off shows what is lost without."
        ),
        labels={"dynamic": mark("Dynamic"), "static": mark("Static"), "off": mark("Off")},
    )
    initial_scale: float = option(
        65536.0,
        title=mark("Initial scale"),
        help=mark("The first loss scale; with static scaling, the scale. A few skipped steps at the start are normal."),
        ge=1.0,
        le=FP32_MAX,
    )
    growth_interval: int = option(
        2000,
        title=mark("Growth interval"),
        help=mark("Dynamic scaling multiplies the scale by the growth factor after this many good updates in a row."),
        unit=mark("updates"),
        ge=1,
        advanced=True,
    )
    growth_factor: float = option(
        2.0,
        title=mark("Growth factor"),
        help=mark("What the scale is multiplied by when it grows."),
        gt=1.0,
        le=1024.0,
        advanced=True,
    )
    backoff_factor: float = option(
        0.5,
        title=mark("Backoff factor"),
        help=mark("What the scale is multiplied by when a gradient overflows and the step is skipped."),
        gt=0.0,
        lt=1.0,
        advanced=True,
    )
    minimum_scale: float = option(
        1.0,
        title=mark("Lowest scale"),
        help=mark("The floor under the dynamic scale: without one, enough overflows would take it to zero for good."),
        gt=0.0,
        le=FP32_MAX,
        advanced=True,
    )
    base_dtype: Literal["auto", "fp32", "fp16", "bf16"] = option(
        "auto",
        title=mark("Storage of frozen weights"),
        help=mark(
            "Frozen weights may be stored in the compute format, which saves memory and a conversion at every "
            "step. Automatic does so; trained weights always keep an fp32 master copy."
        ),
        labels={"auto": mark("Automatic")},
        advanced=True,
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else _PRECISIONS.get(name).name
