"""bf16-mixed: matrix products in bf16, an fp32 master copy of the trained weights."""

from studio.engine.precision.base import Precision
from studio.i18n import gettext_noop

PRECISION = Precision(
    name="bf16-mixed",
    title=gettext_noop("bf16 mixed"),
    explanation=gettext_noop(
        "Matrix products in 16 bits with the range of fp32 and less detail (1 + 2⁻⁸ is already lost), weights updated "
        "in an fp32 master copy. It does not overflow where fp32 does not, so it needs no loss scaling. "
        "The recommended balance on hardware that has it."
    ),
    order=20,
    autocast="bf16",
    loss_scaling=False,
)
