"""Loss scaling: keep fp16 gradients inside fp16's range (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2).

The loss is multiplied by a scale before the backward pass, the gradients are divided by it in fp32. Static
scaling keeps the scale. Dynamic scaling halves it when a gradient overflows (and skips that step), and doubles
it after `growth_interval` good updates in a row; unlike torch's GradScaler it has a floor and never reaches 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.config.precision import FP32_MAX, PrecisionConfig
from studio.engine.precision.base import Precision


@dataclass
class LossScaler:
    """The scale of the next step, and how it changes with the outcome of each step.

    Attributes:
        scale: factor on the loss.
        good_updates: updates in a row without overflow since the scale last changed.
    """

    config: PrecisionConfig
    scale: float
    good_updates: int = 0

    @property
    def dynamic(self) -> bool:
        return self.config.loss_scaling == "dynamic"

    @property
    def can_back_off(self) -> bool:
        """Whether an overflow can still be answered with a smaller scale."""
        return self.dynamic and self.scale > self.config.minimum_scale

    def update(self, overflowed: bool) -> None:
        """Choose the scale of the next step after one that overflowed or did not."""
        if not self.dynamic:
            return
        if overflowed:
            self.scale = max(self.scale * self.config.backoff_factor, self.config.minimum_scale)
            self.good_updates = 0
            return
        # Growing now and then finds the largest scale that fits: the larger, the fewer small gradients are lost.
        self.good_updates += 1
        if self.good_updates == self.config.growth_interval:
            grown = self.scale * self.config.growth_factor
            # The scale is multiplied into an fp32 loss, so it must be an fp32 number.
            self.scale = grown if grown <= FP32_MAX else self.scale
            self.good_updates = 0


def make_scaler(precision: Precision, config: PrecisionConfig) -> LossScaler | None:
    """Return the scaler that a precision asks for, or None where the loss is not scaled."""
    if not precision.loss_scaling or config.loss_scaling == "off":
        return None
    return LossScaler(config, config.initial_scale)
