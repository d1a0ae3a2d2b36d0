"""fp16-mixed: matrix products in fp16, an fp32 master copy of the trained weights, a scaled loss."""

from studio.engine.precision.base import Precision
from studio.i18n import gettext_noop

PRECISION = Precision(
    name="fp16-mixed",
    title=gettext_noop("fp16 mixed"),
    explanation=gettext_noop(
        "Matrix products in 16 bits, weights updated in an fp32 master copy. fp16 is fast but narrow: above 65504 it "
        "overflows to infinity, below 2⁻²⁴ it flushes to zero. Loss scaling lifts small gradients into its range; a "
        "step that overflows is skipped and the scale is halved. For GPUs without bf16."
    ),
    order=30,
    autocast="fp16",
    loss_scaling=True,
)
