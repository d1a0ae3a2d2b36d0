"""What a precision policy is: which numbers the computation is done in, and what that needs."""

from __future__ import annotations

from dataclasses import dataclass

from studio.engine.dtypes import DType
from studio.registry import Spec


@dataclass(frozen=True, kw_only=True)
class Precision(Spec):
    """One precision policy.

    Attributes:
        autocast: the format of matrix products, or None when everything stays fp32.
        loss_scaling: whether the loss is scaled (fp16 alone needs it).
        parameters: the format of the trained parameters: fp32 is the master copy, another is "pure" and has none.
        for_study: a warning to show wherever the precision is chosen, when it is there to be seen failing.
    """

    autocast: DType | None
    loss_scaling: bool
    parameters: DType = "fp32"
    for_study: str = ""

    @property
    def pure(self) -> bool:
        """Whether the weights are trained in 16 bits, without an fp32 master copy."""
        return self.parameters != "fp32"
