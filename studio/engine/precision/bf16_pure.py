"""bf16-pure: everything in bf16, the trained weights too; no master copy."""

from studio.engine.precision.base import Precision
from studio.i18n import gettext_noop

PRECISION = Precision(
    name="bf16-pure",
    title=gettext_noop("bf16 pure"),
    explanation=gettext_noop(
        "The weights themselves are trained in bf16, without an fp32 master copy: the least memory of all. But an "
        "update smaller than half the step between two bf16 numbers (1/256 of a weight and less) is rounded away, so "
        "weights stop moving at small learning rates. Stochastic rounding makes up for that on average."
    ),
    order=40,
    autocast="bf16",
    loss_scaling=False,
    parameters="bf16",
)
