"""LoRA: learn a low-rank change of the weights (Hu et al. 2021, arXiv 2106.09685), carried by peft."""

from __future__ import annotations

from typing import Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.i18n import mark


class LoraConfig(MethodConfig):
    """ΔW = B·A scaled by alpha / rank."""

    name: Literal["lora"] = "lora"
    rank: int = option(
        16, title=mark("Rank"), help=mark("r, the inner size of B·A. 4 to 32 is customary; more can learn more."), ge=1, le=4096
    )
    alpha: float = option(
        32.0, title=mark("Alpha"), help=mark("The change is scaled by alpha / rank. Twice the rank is customary."), gt=0.0, le=1e6
    )
